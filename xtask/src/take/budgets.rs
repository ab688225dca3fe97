//! The budgets of one case, with what is said beside them.

use anyhow::{Context, Result};
use toml::{Table, Value};

/// The part of budgets.toml that has `metrics` of `case`, and its twin, which must
/// break those of them that it must break there. All metrics where none is named.
pub fn of(text: &str, case: &str, metrics: &[&str]) -> Result<String> {
    let mut part = String::new();
    for block in blocks(text) {
        let header = block.lines().find(|line| line.starts_with('['));
        let header = header.and_then(|line| line.strip_prefix('[')?.split(']').next());
        let Some(name) = header.and_then(|header| header.strip_prefix(case)?.strip_prefix('.'))
        else {
            continue;
        };
        if name == "twin" {
            part += &twin(block, case, metrics)?;
        } else if metrics.is_empty() || metrics.contains(&name) {
            // Not what was recorded: that is the service's, connection and all.
            let kept = block.split_inclusive('\n').filter(|line| !line.starts_with("recorded"));
            part.extend(kept);
        }
    }
    Ok(part.trim_start().to_owned())
}

/// The text in blocks: a table, and the comment before it.
fn blocks(text: &str) -> Vec<&str> {
    let (mut blocks, mut begin, mut at, mut comment) = (Vec::new(), 0, 0, None);
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') {
            let start = comment.unwrap_or(at);
            blocks.push(&text[begin..start]);
            begin = start;
        }
        comment = if line.starts_with('#') { comment.or(Some(at)) } else { None };
        at += line.len();
    }
    blocks.push(&text[begin..]);
    blocks
}

/// A twin's block, with what it must violate of `metrics`.
fn twin(block: &str, case: &str, metrics: &[&str]) -> Result<String> {
    let table: Table = block.parse().context("budgets.toml")?;
    let twin = table.get(case).and_then(|case| case.get("twin")).context("a twin")?;
    let violates = twin.get("must_violate").and_then(Value::as_table).context("must_violate")?;
    let violates: Vec<String> = violates
        .iter()
        .filter(|(metric, _)| metrics.is_empty() || metrics.contains(&metric.as_str()))
        .map(|(metric, margin)| format!("{metric} = {margin}"))
        .collect();
    let name = twin.get("name").context("a twin's name")?;
    let violates = violates.join(", ");
    Ok(format!("\n[{case}.twin]\nname = {name}\nmust_violate = {{ {violates} }}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# Of the file.

# Of uploads.
[upload.twin]
name = "naive"
must_violate = { slope = 100, held = 2 }

[upload.slope]
ceiling = 1

# Why so much.
[upload.held]
ceiling = 2 # noise
recorded = 1

[upload.unit]
ceiling = 3

[uploads.slope]
ceiling = 4
"#;

    #[test]
    fn what_is_measured_is_kept_with_its_comment() {
        let part = of(TEXT, "upload", &["held"]).unwrap();
        let expected = "[upload.twin]\nname = \"naive\"\nmust_violate = { held = 2 }\n\n\
                        # Why so much.\n[upload.held]\nceiling = 2 # noise\n\n";
        assert_eq!(part, expected);
    }

    #[test]
    fn without_names_all_of_the_case_is_kept() {
        let part = of(TEXT, "upload", &[]).unwrap();
        assert_eq!(part.matches('[').count(), 4, "{part}");
        assert!(part.contains("held = 2, slope = 100") && !part.contains("uploads"));
        assert_eq!(of(TEXT, "download", &[]).unwrap(), "");
    }
}
