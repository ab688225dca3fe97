//! Figures as a person reads them: three digits and a unit.

use serde::{Deserialize, Serialize};

/// What a metric is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// Bytes of memory for each MiB of work.
    #[serde(rename = "B/MiB")]
    BytesPerMib,
    /// Bytes of memory for each row of a table.
    #[serde(rename = "B/row")]
    BytesPerRow,
    /// Bytes of memory for each operation, or for each one more in flight.
    #[serde(rename = "B/op")]
    BytesPerOp,
    /// A number of things: allocations, files.
    #[serde(rename = "count")]
    Count,
    /// A share of something, in percent.
    #[serde(rename = "%")]
    Percent,
}

impl Unit {
    /// `value` in this unit: `3.07 MiB/MiB`, `151 KiB`, `87 %`.
    #[must_use]
    pub fn tell(self, value: f64) -> String {
        match self {
            Self::Bytes => bytes(value),
            Self::BytesPerMib => bytes(value) + "/MiB",
            Self::BytesPerRow => bytes(value) + "/row",
            Self::BytesPerOp => bytes(value) + "/op",
            Self::Count => digits(value),
            Self::Percent => format!("{value:.0} %"),
        }
    }
}

/// Bytes in the largest binary unit that leaves at least 1 before the point.
#[must_use]
pub fn bytes(value: f64) -> String {
    let mut scaled = value;
    let mut units = ["B", "KiB", "MiB", "GiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // 1023.5 would be told as 1024.
    while scaled.abs() >= 1023.5
        && let Some(larger) = units.next()
    {
        scaled /= 1024.0;
        unit = larger;
    }
    format!("{} {unit}", digits(scaled))
}

/// Three significant digits, without zeros that say nothing.
#[must_use]
pub fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        magnitude if magnitude >= 99.95 => 0,
        magnitude if magnitude >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_the_unit_that_fits() {
        let told =
            [0.0, -0.001, 0.031, 636.0, 1024.0, 154_000.0, 1_048_575.0, 202_375_168.0].map(bytes);
        let expected = ["0 B", "0 B", "0.03 B", "636 B", "1 KiB", "150 KiB", "1 MiB", "193 MiB"];
        assert_eq!(told, expected);
        assert_eq!(Unit::BytesPerMib.tell(3.07 * 1_048_576.0), "3.07 MiB/MiB");
        assert_eq!(Unit::Percent.tell(86.7), "87 %");
        assert_eq!(digits(f64::INFINITY), "inf");
    }
}
