//! Values as text, each in one piece.
//!
//! **What goes wrong**: `write!(f, "{byte:02x}")` a byte, and a date part by part: the
//! formatter is called for each piece, and what takes it (JSON, that escapes) once more.
//! Of a cached record's answer that was a third of all instructions.
//!
//! **The pattern**: the text is made on the stack, and handed over whole. A time, of
//! which a record has two and an export has millions, is digits set into a template: a
//! third of what the formatter takes.

use std::fmt;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use time::{OffsetDateTime, UtcOffset};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What is made at once, in bytes: a SHA-256 in hex.
const PIECE: usize = 64;

/// Bytes, shown in hex.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bytes in self.0.chunks(PIECE / 2) {
            let mut text = [0; PIECE];
            for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
                let digits = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
                pair.copy_from_slice(&digits);
            }
            f.write_str(str::from_utf8(&text[..2 * bytes.len()]).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A time, shown as RFC 3339 has it, in UTC.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub OffsetDateTime);

/// RFC 3339, section 5.6, which has no year but of four digits: of another, which no record
/// has, the last four are shown.
const TEMPLATE: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";

impl Rfc3339 {
    fn text(self) -> [u8; TEMPLATE.len()] {
        let at = self.0.to_offset(UtcOffset::UTC);
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second, micro) = at.time().as_hms_micro();
        let mut text = *TEMPLATE;
        let fields = [
            (0..4, year.unsigned_abs()),
            (5..7, u8::from(month).into()),
            (8..10, day.into()),
            (11..13, hour.into()),
            (14..16, minute.into()),
            (17..19, second.into()),
            (20..26, micro),
        ];
        for (place, mut value) in fields {
            for digit in text[place].iter_mut().rev() {
                *digit = DIGITS[(value % 10) as usize];
                value /= 10;
            }
        }
        text
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(str::from_utf8(&self.text()).map_err(S::Error::custom)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_two_digits_a_byte_however_many_there_are() {
        assert_eq!(Hex(&[0x00, 0x0f, 0xf0, 0xff]).to_string(), "000ff0ff");
        let many: Vec<u8> = (0..=255).collect();
        let each: String = many.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Hex(&many).to_string(), each);
        assert_eq!(Hex(&[]).to_string(), "");
    }

    #[test]
    fn a_time_is_in_utc_and_to_the_microsecond() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_764_115_199_000_042_000).unwrap();
        let elsewhere = at.to_offset(UtcOffset::from_hms(5, 30, 0).unwrap());
        assert_eq!(Rfc3339(elsewhere).to_string(), "2025-11-25T23:59:59.000042Z");
        let early = OffsetDateTime::from_unix_timestamp(1_741_320_306).unwrap();
        assert_eq!(Rfc3339(early).to_string(), "2025-03-07T04:05:06.000000Z");
        let text = serde_json::to_string(&Rfc3339(elsewhere)).unwrap();
        assert_eq!(text, r#""2025-11-25T23:59:59.000042Z""#);
    }
}
