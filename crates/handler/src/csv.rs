//! CSV (RFC 4180), such that no spreadsheet runs what a client named a file.

use std::borrow::Cow;

use csv::{Terminator, WriterBuilder};
use storage::FileRecord;

use crate::record::Record;

/// The first line.
pub const HEAD: &[u8] = b"id,name,content_type,size,sha256,created_at,updated_at\r\n";

/// What a cell must not begin with, or a spreadsheet takes it for a formula
/// (OWASP, CSV injection).
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The writer's buffer, in bytes: a usual line.
const LINE: usize = 512;

/// Appends a record as a line.
pub fn row(record: &FileRecord, page: &mut Vec<u8>) {
    let record = Record::from(record);
    let mut line = WriterBuilder::new();
    let mut line = line.terminator(Terminator::CRLF).buffer_capacity(LINE).from_writer(page);
    let cells = [
        record.id.to_string().into(),
        harmless(record.name),
        harmless(record.content_type),
        record.size.to_string().into(),
        record.sha256.to_string().into(),
        record.created_at.to_string().into(),
        record.updated_at.to_string().into(),
    ];
    // It fails only where the writer below does, or a line has fewer cells than
    // another: neither can be here.
    let _ = line.write_record(cells.iter().map(|cell: &Cow<'_, str>| cell.as_bytes()));
    let _ = line.flush();
}

/// A text of a client's: with an apostrophe before it, where a spreadsheet would
/// run it.
fn harmless(text: &str) -> Cow<'_, str> {
    if text.starts_with(FORMULA) { format!("'{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_text() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        for text in ["a=1", "'=1", "1-1", ""] {
            assert_eq!(harmless(text), text);
        }
    }
}
