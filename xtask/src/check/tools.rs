//! Tools that are not part of Rust: found, or built into `target/tools`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{command, metadata};

/// A tool, at the one version that a check is known to pass with.
pub struct Tool {
    name: &'static str,
    version: &'static str,
    /// How long building it takes, on two cores.
    takes: &'static str,
}

/// Bans, licences and sources.
pub const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", takes: "1 minute" };

/// Unused dependencies. It searches the sources for each crate's name, so it
/// is quick, and is wrong where only a macro or a feature uses a crate: such a
/// one is listed, with the reason, in the `[package.metadata.cargo-machete]`
/// of the crate that depends on it.
pub const MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2", takes: "½ minute" };

impl Tool {
    /// The tool, ready for its arguments. Installs it if it is missing: into
    /// the target folder, so that nothing changes outside of the checkout.
    pub fn command(&self) -> anyhow::Result<Command> {
        let folder = metadata::read()?.target_directory.join("tools");
        let own = folder.join("bin").join(self.name);
        let found = [own.clone(), PathBuf::from(self.name)];
        let path = match found.into_iter().find(|path| self.is_at(path)) {
            Some(path) => path,
            None => {
                self.install(&folder)?;
                own
            }
        };
        let mut command = command::command(path);
        // With it, cargo-machete takes its first argument for its own name.
        command.env_remove("CARGO");
        Ok(command)
    }

    /// Whether this very version is at the path, or found by that name.
    fn is_at(&self, path: &Path) -> bool {
        let output = command::command(path).env_remove("CARGO").arg("--version").output();
        output.is_ok_and(|output| {
            let said = String::from_utf8_lossy(&output.stdout);
            said.split_whitespace().last() == Some(self.version)
        })
    }

    /// Unoptimized: building takes a fifth of the time (cargo-deny 1 minute,
    /// not 4½), and what it does here takes a second either way.
    fn install(&self, folder: &Path) -> anyhow::Result<()> {
        let Tool { name, version, takes } = self;
        println!(
            "{name} {version} is not here: building it into {}, once, which takes about {takes}",
            folder.display()
        );
        let build = folder.join("build");
        command::run(
            command::cargo()
                .args(["install", "--quiet", "--locked", "--debug"])
                .arg(format!("{name}@={version}"))
                .arg("--root")
                .arg(folder)
                .arg("--target-dir")
                .arg(&build)
                .env("CARGO_PROFILE_DEV_DEBUG", "false"),
        )?;
        fs::remove_dir_all(build)?; // several hundred MB, of use to nothing else
        Ok(())
    }
}
