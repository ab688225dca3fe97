//! The table of weights, for a terminal or a page.

use std::fmt::Write as _;

use super::judge::{Row, Unit, Verdict};

/// How the table is written.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns
    Table,
    /// A table of GitHub's Markdown, for a job's summary
    Markdown,
}

const HEAD: [&str; 5] = ["what", "budget", "now", "headroom", "verdict"];

/// Widths of the columns of [`Format::Table`]: the longest that can be in each.
const WIDTHS: [usize; 5] = [21, 10, 10, 8, 10];

/// The width of a line of names.
const LINE: usize = 88;

/// The table, and below it what was counted by name.
pub fn render(rows: &[Row], format: Format) -> String {
    let mut text = String::new();
    line(&mut text, HEAD.map(str::to_owned), format);
    if let Format::Markdown = format {
        text.push_str("| --- | ---: | ---: | ---: | --- |\n");
    }
    for row in rows {
        let headroom = row.headroom().map_or("-".to_owned(), |percent| format!("{percent} %"));
        let (budget, now) = (told(row.unit, row.budget), told(row.unit, row.now));
        line(
            &mut text,
            [row.what.to_owned(), budget, now, headroom, verdict(row).to_owned()],
            format,
        );
    }
    for row in rows.iter().filter(|row| !row.names.is_empty()) {
        let names = row.names.join(", ");
        let _ = match format {
            Format::Table => writeln!(text, "\n{}:{}", row.what, wrapped(&names)),
            Format::Markdown => writeln!(text, "\n{}: {names}", row.what),
        };
    }
    text
}

fn line(text: &mut String, cells: [String; 5], format: Format) {
    match format {
        Format::Markdown => {
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        Format::Table => {
            let [what, budget, now, headroom, verdict] = &cells;
            let [w0, w1, w2, w3, _] = WIDTHS;
            let _ = writeln!(
                text,
                "{what:<w0$}  {budget:>w1$}  {now:>w2$}  {headroom:>w3$}  {verdict}"
            );
        }
    }
}

/// Names over as many lines as they need.
fn wrapped(names: &str) -> String {
    let (mut text, mut width) = (String::new(), LINE);
    for name in names.split(' ') {
        if width + 1 + name.len() > LINE {
            text.push_str("\n ");
            width = 1;
        }
        text.push(' ');
        text.push_str(name);
        width += 1 + name.len();
    }
    text
}

fn told(unit: Unit, value: u64) -> String {
    match unit {
        Unit::Count => value.to_string(),
        Unit::Bytes => {
            let hundredths = value.saturating_mul(100) >> 20;
            format!("{}.{:02} MiB", hundredths / 100, hundredths % 100)
        }
    }
}

fn verdict(row: &Row) -> &'static str {
    match row.verdict {
        Verdict::Holds => "holds",
        Verdict::Broken => "BROKEN",
        Verdict::Told => "not judged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weigh::judge;

    fn rows() -> [Row; 2] {
        let names = ["sha2", "rand"].map(str::to_owned).into();
        [judge::count("crates in it", 224, 230), judge::list("in two versions", names, 1)]
    }

    #[test]
    fn a_terminal_gets_columns() {
        let table = "\
what                       budget         now  headroom  verdict
crates in it                  230         224       2 %  holds
in two versions                 1           2    -100 %  BROKEN

in two versions:
  sha2, rand
";
        assert_eq!(render(&rows(), Format::Table), table);
    }

    #[test]
    fn a_page_gets_markdown() {
        let table = "\
| what | budget | now | headroom | verdict |
| --- | ---: | ---: | ---: | --- |
| crates in it | 230 | 224 | 2 % | holds |
| in two versions | 1 | 2 | -100 % | BROKEN |

in two versions: sha2, rand
";
        assert_eq!(render(&rows(), Format::Markdown), table);
    }

    #[test]
    fn bytes_are_told_as_mib() {
        assert_eq!(told(Unit::Bytes, 8_556_328), "8.15 MiB");
        assert_eq!(told(Unit::Bytes, u64::MAX).len(), "175921860444.15 MiB".len());
    }

    #[test]
    fn many_names_are_wrapped() {
        let names = vec!["name"; 100].join(", ");
        let text = wrapped(&names);
        assert!(text.lines().all(|line| line.len() <= LINE), "{text}");
        assert_eq!(text.split_whitespace().count(), 100);
    }
}
