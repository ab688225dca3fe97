//! Every setting: a flag, an environment variable, a default and its reason.
//! `server --help` is the manual.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytesize::ByteSize;
use clap::Args;

use crate::secrets::{self, Digests, Url};

/// How long it may take from the rename of content to its record, at the most. The
/// sweep must not be faster.
const PUBLISHING: Duration = Duration::from_secs(300);

/// Tokens at most. Each has a bucket of its own in the rate limit's table.
const MOST_TOKENS: usize = 1024;

/// The settings of the service.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Postgres: postgres://user:password@host/database. Its role needs TEMP on the database, or
    /// downloads are not counted
    #[arg(long, env, hide_env_values = true, global = true, value_name = "URL")]
    pub database_url: Option<String>,

    /// A file with the database's URL instead, read at start
    #[arg(long, env, global = true, value_name = "FILE", conflicts_with = "database_url", value_parser = secrets::url)]
    pub database_url_file: Option<Url>,

    /// Where to listen. Beyond loopback a token is needed: without one given, one is made at start
    #[arg(long, env, global = true, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Where probes are answered too, whatever clients hold: no token, so for no client to reach
    #[arg(long, env, global = true, default_value = "127.0.0.1:8081")]
    pub admin_listen: SocketAddr,

    /// The folder of content and staged uploads, on a disk (a tmpfs counts as memory)
    #[arg(long, env, global = true, default_value = "content")]
    pub content_dir: PathBuf,

    /// What content and uploads in flight may take on disk, in bytes of files and 4 KiB for each
    /// file; more gets 507. Else 90 % of the file system: who shares it (a database!) keeps the rest
    #[arg(long, env, global = true, value_parser = content)]
    pub content_quota: Option<ByteSize>,

    /// SHA-256 of the tokens that may ask, in hex: printf %s "$TOKEN" | sha256sum
    #[arg(long, env, global = true, value_delimiter = ',', value_parser = sha256)]
    pub tokens_sha256: Vec<[u8; 32]>,

    /// A file with them instead, one a line, read at start
    #[arg(long, env, global = true, value_name = "FILE", conflicts_with = "tokens_sha256", value_parser = secrets::digests)]
    pub tokens_sha256_file: Option<Digests>,

    /// The memory limit to plan for; else that of the control group, else a quarter of the machine's
    #[arg(long, env, global = true)]
    pub memory_limit: Option<ByteSize>,

    /// Connections at most. One more closes the longest idle, or one whose head does not come
    /// within 250 ms; if there is none, it gets 503 [derived: 160 in 64MiB, 10000 at most]
    #[arg(long, env, global = true, value_parser = count)]
    pub max_connections: Option<usize>,

    /// Requests in flight at most, each to the end of its response. One more gets 503; probes don't
    /// count. No more than there can be uploads, downloads and pages, and slow clients of these shut
    /// out all others [derived: their sum, and 8 in 64MiB, 500 at most]
    #[arg(long, env, global = true, value_parser = count)]
    pub max_requests: Option<usize>,

    /// Uploads in flight at most. One more gets 503 [derived: 16 in 64MiB, 1000 at most]
    #[arg(long, env, global = true, value_parser = count)]
    pub max_uploads: Option<usize>,

    /// Downloads in flight at most. One more gets 503 [derived: 32 in 64MiB, 2000 at most]
    #[arg(long, env, global = true, value_parser = count)]
    pub max_downloads: Option<usize>,

    /// Lists and exports in flight at most. One more gets 503 [derived: 8 in 64MiB, 250 at most]
    #[arg(long, env, global = true, value_parser = count)]
    pub max_pages: Option<usize>,

    /// Responses that are being compressed at most. One more is sent as it is [derived: 4 in 64MiB, 64 at most]
    #[arg(long, env, global = true, value_parser = count)]
    pub max_encoders: Option<usize>,

    /// Database connections at most: what Postgres has, whatever the limit. Who finds none waits for --pool-timeout, then gets 503
    #[arg(long, env, global = true, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub pool_connections: u32,

    /// The longest wait for a database connection
    #[arg(long, env, global = true, default_value = "2s", value_parser = duration)]
    pub pool_timeout: Duration,

    /// What records may hold in the cache, overhead included [derived: 1MiB in 64MiB, 256MiB at most]
    #[arg(long, env, global = true, value_parser = cache)]
    pub cache_size: Option<ByteSize>,

    /// How long a cached record is served before it is read again: how old one may be if the
    /// database can't tell of a change
    #[arg(long, env, global = true, default_value = "60s", value_parser = duration)]
    pub cache_ttl: Duration,

    /// Downloads that wait to be counted at most. One more is not counted
    #[arg(long, env, global = true, default_value_t = 4096, value_parser = count)]
    pub audit_queue: usize,

    /// A client may ask once in each such period, in the long run; else it gets 429
    #[arg(long, env, global = true, default_value = "10ms", value_parser = duration)]
    pub rate_limit_period: Duration,

    /// How often a client may ask at once, after a pause
    #[arg(long, env, global = true, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate_limit_burst: u32,

    /// Proxies of yours in front, each of which appends to X-Forwarded-For
    #[arg(long, env, global = true, default_value_t = 0)]
    pub trusted_proxies: usize,

    /// The largest content; more gets 413
    #[arg(long, env, global = true, default_value = "16GiB", value_parser = content)]
    pub max_upload_size: ByteSize,

    /// An upload's buffer: fewer trips to the disk, or less memory
    #[arg(long, env, global = true, default_value = "64KiB", value_parser = buffer)]
    pub upload_chunk: ByteSize,

    /// Buffers of uploads that are not there, which one that is may borrow: fewer trips
    #[arg(long, env, global = true, default_value_t = 5, value_parser = any_count)]
    pub upload_borrow: usize,

    /// A download's chunk, of which two are held at most
    #[arg(long, env, global = true, default_value = "64KiB", value_parser = buffer)]
    pub download_chunk: ByteSize,

    /// Chunks of four times the size, one for a download whose client takes it fast. Who finds none
    /// goes on with small ones
    #[arg(long, env, global = true, default_value_t = 2, value_parser = any_count)]
    pub large_chunks: usize,

    /// A connection's buffer, each way; a request's head must fit (else 431)
    #[arg(long, env, global = true, default_value = "16KiB", value_parser = buffer)]
    pub connection_buffer: ByteSize,

    /// What the kernel may hold of an upload's unread data (Linux takes twice as much)
    #[arg(long, env, global = true, default_value = "64KiB", value_parser = buffer)]
    pub socket_receive_buffer: ByteSize,

    /// What the kernel may hold of a connection's unsent data (Linux)
    #[arg(long, env, global = true, default_value = "16KiB", value_parser = buffer)]
    pub socket_unsent: ByteSize,

    /// The longest wait for a new connection's first byte
    #[arg(long, env, global = true, default_value = "5s", value_parser = duration)]
    pub first_byte_timeout: Duration,

    /// The longest that a request's head may take
    #[arg(long, env, global = true, default_value = "10s", value_parser = duration)]
    pub header_timeout: Duration,

    /// The longest that a connection may idle between requests
    #[arg(long, env, global = true, default_value = "60s", value_parser = duration)]
    pub idle_timeout: Duration,

    /// In each such window a client must take 4 KiB of what is being written to it
    #[arg(long, env, global = true, default_value = "30s", value_parser = duration)]
    pub write_timeout: Duration,

    /// In each such window 4 KiB of an upload must come, and a JSON body whole; else 408
    #[arg(long, env, global = true, default_value = "30s", value_parser = duration)]
    pub upload_timeout: Duration,

    /// How long to go on listening after readiness has failed, so that a balancer can see it
    #[arg(long, env, global = true, default_value = "0s", value_parser = any_duration)]
    pub shutdown_delay: Duration,

    /// How long requests in flight may take to end after SIGTERM or Ctrl-C
    #[arg(long, env, global = true, default_value = "30s", value_parser = any_duration)]
    pub shutdown_timeout: Duration,

    /// How old leftovers of a crash must be to be swept
    #[arg(long, env, global = true, default_value = "1h", value_parser = duration)]
    pub sweep_age: Duration,

    /// How often leftovers are looked for, the first time at start
    #[arg(long, env, global = true, default_value = "1h", value_parser = duration)]
    pub sweep_interval: Duration,

    /// Threads that run tasks. Fixed, as each has memory of its own
    #[arg(long, env, global = true, default_value_t = 2, value_parser = threads)]
    pub worker_threads: usize,

    /// Threads that read and write files. Fixed, as each has memory of its own
    #[arg(long, env, global = true, default_value_t = 8, value_parser = threads)]
    pub blocking_threads: usize,
}

impl Config {
    /// What a parser of one value can't see.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn validate(&self) -> anyhow::Result<()> {
        // Staged uploads are locked; this is for content that has no record yet.
        let least = self.pool_timeout + PUBLISHING;
        ensure!(
            self.sweep_age >= least,
            "--sweep-age must be at least --pool-timeout and {} s more ({} s), or the sweep could \
             take content that is being published for a leftover",
            PUBLISHING.as_secs(),
            least.as_secs(),
        );
        ensure!(
            self.sweep_interval >= Duration::from_secs(1),
            "--sweep-interval must be at least 1 s"
        );
        let pause = self.rate_limit_period.checked_mul(self.rate_limit_burst);
        ensure!(
            pause.is_some_and(|pause| pause <= LONGEST),
            "--rate-limit-period times --rate-limit-burst must be a year at most: so long a bucket \
             takes to be full again"
        );
        ensure!(
            self.tokens().len() <= MOST_TOKENS,
            "tokens: {MOST_TOKENS} at most: each request is compared with all"
        );
        Ok(())
    }

    /// The database's URL.
    ///
    /// # Errors
    /// Where there is none.
    pub fn database_url(&self) -> anyhow::Result<&str> {
        let url = self.database_url.as_deref().filter(|url| !url.is_empty());
        let url = url.or(self.database_url_file.as_ref().map(|Url(url)| url.as_str()));
        url.context(
            "neither DATABASE_URL nor DATABASE_URL_FILE is set; `cargo xtask dev` brings a \
             database of its own",
        )
    }

    /// The SHA-256 of the tokens that may ask.
    #[must_use]
    pub fn tokens(&self) -> &[[u8; 32]] {
        self.tokens_sha256_file.as_ref().map_or(&self.tokens_sha256, |Digests(digests)| digests)
    }
}

/// A size that has passed its parser, as one in memory.
#[must_use]
pub fn size(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

/// The longest that anything may wait: beyond it, a clock can't be added to.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

fn any_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration <= LONGEST { Ok(duration) } else { Err("expected a year at most".to_owned()) }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = any_duration(text)?;
    if duration.is_zero() { Err("expected more than 0".to_owned()) } else { Ok(duration) }
}

/// More than this of anything is a mistake rather than a wish.
const MOST: usize = 1_000_000;

fn count(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (1..=MOST).contains(&count) { Ok(count) } else { Err(format!("expected 1 to {MOST}")) }
}

fn any_count(text: &str) -> Result<usize, String> {
    if text == "0" { Ok(0) } else { count(text) }
}

/// More threads than this wait for each other.
const MOST_THREADS: usize = 1024;

fn threads(text: &str) -> Result<usize, String> {
    let threads = count(text)?;
    if threads <= MOST_THREADS { Ok(threads) } else { Err(format!("expected 1 to {MOST_THREADS}")) }
}

/// Below 8 KiB hyper does not go, and a task's own cost outweighs the buffer;
/// above 16 MiB it is no longer streaming.
fn buffer(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    let range = ByteSize::kib(8)..=ByteSize::mib(16);
    if range.contains(&size) { Ok(size) } else { Err("expected 8KiB to 16MiB".to_owned()) }
}

fn content(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    // The table's sizes are signed.
    let range = ByteSize::b(1)..=ByteSize::b(i64::MAX as u64);
    if range.contains(&size) { Ok(size) } else { Err("expected 1 byte or more".to_owned()) }
}

/// Below 64 KiB the cache would hold fewer records than may be in flight.
fn cache(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    let range = ByteSize::kib(64)..=ByteSize::gib(64);
    if range.contains(&size) { Ok(size) } else { Err("expected 64KiB to 64GiB".to_owned()) }
}

/// 64 hexadecimal digits, as `sha256sum` prints them.
pub(crate) fn sha256(hex: &str) -> Result<[u8; 32], String> {
    let digits = hex.is_ascii() && hex.len() == 64;
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        let pair = hex.get(2 * index..2 * index + 2).filter(|_| digits);
        let value = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        *byte = value.ok_or("expected 64 hexadecimal digits")?;
    }
    Ok(digest)
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;
    use crate::plan::LoadLine;
    use crate::secrets::tests::Scratch;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    /// The settings of a command line, whatever the environment has.
    pub fn parse(arguments: &[&str]) -> Result<Config, clap::Error> {
        let arguments = ["server"].iter().chain(arguments);
        // DATABASE_URL is set where tests run.
        let command = Cli::command().mut_args(|argument| argument.env(None));
        let matches = command.try_get_matches_from(arguments)?;
        Cli::from_arg_matches(&matches).map(|cli| cli.config)
    }

    #[test]
    fn the_defaults_fit_into_64_mib() {
        let config = parse(&["--memory-limit=64MiB"]).unwrap();
        config.validate().unwrap();
        assert_eq!(LoadLine::of(&config).plan.check(), Ok(()));
    }

    #[test]
    fn a_bound_can_not_be_taken_off() {
        for argument in [
            "--max-connections=0",
            "--max-uploads=99999999",
            "--upload-chunk=1GiB",
            "--download-chunk=1",
            "--pool-connections=0",
            "--tokens-sha256=abc",
            "--idle-timeout=60",
            "--idle-timeout=500000000y",
            "--write-timeout=0s",
            "--worker-threads=1000000",
            "--max-upload-size=0",
            "--content-quota=0",
        ] {
            assert!(parse(&[argument]).is_err(), "{argument}");
        }
    }

    #[test]
    fn a_sweep_that_could_take_a_live_upload_is_refused() {
        let config = parse(&["--pool-timeout=30s", "--sweep-age=329s"]).unwrap();
        assert!(config.validate().unwrap_err().to_string().contains("--sweep-age"));
        parse(&["--pool-timeout=30s", "--sweep-age=330s"]).unwrap().validate().unwrap();
    }

    #[test]
    fn tokens_are_read_as_hex() {
        let digest = "00ff".repeat(16);
        let config = parse(&[&format!("--tokens-sha256={digest},{digest}")]).unwrap();
        assert_eq!(config.tokens().len(), 2);
        assert_eq!(config.tokens()[0][..2], [0x00, 0xff]);
    }

    #[test]
    fn a_secret_comes_from_its_setting_or_its_file_not_both() {
        let url = Scratch::new("config-url", "postgres://app@database/app\n");
        let digest = Scratch::new("config-digest", "0f".repeat(32));
        let url = format!("--database-url-file={}", url.path());
        let digests = format!("--tokens-sha256-file={}", digest.path());
        let config = parse(&[&url, &digests]).unwrap();
        assert_eq!(config.database_url().unwrap(), "postgres://app@database/app");
        assert_eq!(config.tokens(), [[0x0f; 32]]);
        let both = [&digests, &format!("--tokens-sha256={}", "0f".repeat(32))];
        for arguments in [
            [url.as_str(), "--database-url=postgres://x"],
            both.map(String::as_str),
            ["--tokens-sha256-file=/nowhere/at/all", "--memory-limit=64MiB"],
        ] {
            let error = parse(&arguments).unwrap_err().to_string();
            assert!(error.contains("-file"), "{error}");
        }
    }
}
