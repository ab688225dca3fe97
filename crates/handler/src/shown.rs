//! Values as text, each in one piece.
//!
//! **What goes wrong**: `write!(f, "{byte:02x}")` a byte, and a date part by part: the
//! formatter is called for each piece, and what takes it (JSON, that escapes) once more.
//! Of a cached record's answer that was a third of all instructions.
//!
//! **The pattern**: the text is made on the stack, and handed over whole.

use std::fmt;
use std::io::Write as _;

use serde::{Serialize, Serializer};
use time::{OffsetDateTime, UtcOffset};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What is made at once, in bytes: a SHA-256 in hex, or a time.
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

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.0.to_offset(UtcOffset::UTC);
        let (hour, minute, second, micro) = at.time().as_hms_micro();
        let mut text = [0; PIECE];
        let mut rest = &mut text[..];
        let written = write!(rest, "{}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z", at.date());
        let length = PIECE - rest.len();
        written.map_err(|_| fmt::Error)?; // no year is that long
        f.write_str(str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
    }
}
