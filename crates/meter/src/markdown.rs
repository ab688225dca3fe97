//! The same for a pull request: a table a case, in GitHub's Markdown.

use crate::judge::{CaseJudgement, Judgement, Row};
use crate::verdict::Verdict;
use crate::wording::{self, Cells};

/// Draws `judgement`: the sum first, then a table a case, with a line for each
/// finding of its control.
#[must_use]
pub fn markdown(judgement: &Judgement) -> String {
    let mut text = format!("**{}**\n", wording::sum(judgement));
    for case in &judgement.cases {
        text += &section(case, judgement.baseline.is_some());
    }
    text
}

fn section(case: &CaseJudgement, compared: bool) -> String {
    let mut text = format!("\n### {}\n\n", case.case);
    if let Some(error) = &case.error {
        text += &format!("**ERROR**: {}\n\n", escaped(error));
    }
    if !case.rows.is_empty() {
        text += if compared {
            "| metric | budget | before | now | Δ | headroom | class | verdict |\n\
             | --- | --: | --: | --: | --: | --: | --- | --- |\n"
        } else {
            "| metric | budget | recorded | now | headroom | class | verdict |\n\
             | --- | --: | --: | --: | --: | --- | --- |\n"
        };
    }
    text.extend(case.rows.iter().map(|row| line(row, compared)));
    text += "\n";
    let notes = case.rows.iter().filter(|row| !row.note.is_empty());
    text.extend(notes.map(|row| format!("- {}: {}\n", row.metric, escaped(&row.note))));
    text.extend(
        wording::control(&case.control).iter().map(|told| format!("- {}\n", escaped(told))),
    );
    text
}

fn line(row: &Row, compared: bool) -> String {
    let cells = Cells::of(row);
    let mut columns = vec![row.metric.clone(), cells.budget];
    if compared {
        columns.extend([cells.before, cells.now, cells.delta]);
    } else {
        columns.extend([cells.recorded, cells.now]);
    }
    columns.extend([cells.headroom, cells.class]);
    columns.push(match row.verdict {
        Verdict::Holds => "holds".to_owned(),
        failed => format!("**{failed}**"),
    });
    format!("| {} |\n", columns.join(" | "))
}

/// Names of twins and errors come from elsewhere, and may hold what Markdown reads.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '\n' | '\r' => escaped.push(' '),
            '\\' | '`' | '*' | '|' | '<' | '>' | '[' | ']' | '#' => {
                escaped.extend(['\\', character]);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}
