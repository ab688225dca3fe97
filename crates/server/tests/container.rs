//! What Dockerfile and docker-compose.yml promise of the service.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use budget::{Limit, Source};
use clap::{CommandFactory, FromArgMatches, Parser};
use server::plan::LoadLine;
use server::{Config, application, health};

const DOCKERFILE: &str = include_str!("../../../Dockerfile");
const COMPOSE: &str = include_str!("../../../docker-compose.yml");

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: Config,
}

fn defaults() -> Config {
    let command = Cli::command().mut_args(|argument| argument.env(None));
    Cli::from_arg_matches(&command.get_matches_from(["server"])).unwrap().config
}

/// What follows the last `key` in a text, up to the end of the word. The service is
/// the compose file's last.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let (_, rest) = text.rsplit_once(key).unwrap();
    rest.split_whitespace().next().unwrap()
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap())
}

#[test]
fn the_service_is_not_killed_before_it_has_shut_down() {
    let config = defaults();
    let longest = config.shutdown_delay + config.shutdown_timeout + application::FORCED;
    assert!(seconds(value(COMPOSE, "stop_grace_period:")) > longest);
}

#[test]
fn the_plan_fits_the_limit() {
    // The service's own is above those of the others.
    let (service, _) = COMPOSE.split_once("\nservices:").unwrap();
    let mebibytes: u64 = value(service, "mem_limit:").strip_suffix('m').unwrap().parse().unwrap();
    let limit = Limit { bytes: mebibytes << 20, source: Source::Configured };
    assert_eq!(LoadLine::fit(&defaults(), limit).plan.check(), Ok(()));
}

#[test]
fn a_health_check_ends_by_itself() {
    assert!(seconds(value(DOCKERFILE, "--timeout=")) > 2 * health::PATIENCE);
}
