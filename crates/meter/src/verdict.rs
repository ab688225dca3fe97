//! What figures come to, and the exit codes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a figure comes to. In a table, capitals mean that the run fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within its budget.
    Holds,
    /// A control that broke what it must break.
    Detected,
    /// The pattern could not be measured.
    Error,
    /// Above its ceiling.
    Broken,
    /// Below its floor: the formula promises far less than it could.
    Loose,
    /// A control that was not detected, or that crashed: what passes beside it
    /// proves nothing.
    Toothless,
    /// A figure without a budget, or a budget without a figure.
    Missing,
    /// Repetitions are further apart than allowed.
    Unstable,
}

impl Verdict {
    /// The exit code that it asks for.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Holds | Self::Detected => 0,
            Self::Error => 1,
            Self::Broken | Self::Loose => 2,
            Self::Toothless => 3,
            Self::Missing => 5,
            Self::Unstable => 6,
        }
    }

    /// The one whose exit code wins; `Holds` where there is none that fails.
    #[must_use]
    pub fn gravest(verdicts: impl Iterator<Item = Self>) -> Self {
        let rank = |verdict: &Self| PRECEDENCE.iter().position(|code| *code == verdict.exit_code());
        verdicts.filter(|verdict| rank(verdict).is_some()).min_by_key(rank).unwrap_or(Self::Holds)
    }
}

/// Which exit code wins where several are asked for: what makes the other
/// figures worthless comes first.
const PRECEDENCE: [u8; 5] = [1, 3, 2, 6, 5];

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holds => "holds",
            Self::Detected => "detected",
            Self::Error => "ERROR",
            Self::Broken => "BROKEN",
            Self::Loose => "LOOSE",
            Self::Toothless => "TOOTHLESS",
            Self::Missing => "MISSING",
            Self::Unstable => "UNSTABLE",
        })
    }
}
