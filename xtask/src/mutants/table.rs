//! The table: what each mutant was caught by, or that it was not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::claim::Claim;
use super::list::Mutant;
use super::said::Said;

/// What became of a mutant.
pub enum Fate {
    /// It does not compile: it says nothing.
    Broken,
    /// What its tests said.
    Tested(BTreeMap<Claim, Said>),
}

/// A line of the table.
pub struct Row<'a> {
    pub mutant: &'a Mutant,
    pub fate: Fate,
    pub took: Duration,
}

impl Row<'_> {
    /// Whether every test that is named noticed.
    pub fn is_caught(&self) -> bool {
        match &self.fate {
            Fate::Broken => false,
            Fate::Tested(said) => !said.is_empty() && said.values().all(|said| self.is_catch(said)),
        }
    }

    fn is_catch(&self, said: &Said) -> bool {
        matches!(said, Said::Red(_)) || (*said == Said::Hung && self.mutant.hangs)
    }

    /// A few lines for a person.
    pub fn tell(&self) -> String {
        let verdict = match (&self.fate, self.is_caught()) {
            (Fate::Broken, _) => "DOES NOT COMPILE",
            (_, true) => "caught",
            (_, false) => "SURVIVED",
        };
        let Mutant { name, bound, change, .. } = self.mutant;
        let mut text = format!("{name:<34} {verdict:<17} {:>5.0} s\n", self.took.as_secs_f32());
        text += &format!("    bound   {bound}\n    change  {change}\n");
        if let Fate::Tested(said) = &self.fate {
            for (claim, said) in said {
                let mark = if self.is_catch(said) { "by" } else { "NOT BY" };
                text += &format!("    {mark:<7} {claim}{}\n", tell(said));
            }
        }
        text
    }
}

fn tell(said: &Said) -> String {
    match said {
        Said::Green => ": it passed".to_owned(),
        Said::Red(how) if how.is_empty() => String::new(),
        Said::Red(how) => format!(": {how}"),
        Said::Hung => ": it did not end".to_owned(),
        Said::Nothing => ": it was not reached".to_owned(),
    }
}

/// The last line.
pub fn sum(rows: &[Row<'_>]) -> String {
    let caught = rows.iter().filter(|row| row.is_caught()).count();
    let survived: Vec<_> = rows.iter().filter(|row| !row.is_caught()).collect();
    let names: Vec<_> = survived.iter().map(|row| row.mutant.name.as_str()).collect();
    match names.as_slice() {
        [] => format!("{caught} mutants, all caught"),
        names => format!("{} mutants, {caught} caught; not: {}", rows.len(), names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mutant: &Mutant, said: Said) -> Row<'_> {
        let fate = Fate::Tested(BTreeMap::from([(mutant.caught_by[0].clone(), said)]));
        Row { mutant, fate, took: Duration::ZERO }
    }

    fn mutant(hangs: bool) -> Mutant {
        toml::from_str(&format!(
            "name = 'a'\nbound = 'b'\nchange = 'c'\ncaught_by = ['memory upload']\n\
             hangs = {hangs}\nedit = []\n"
        ))
        .unwrap()
    }

    #[test]
    fn only_what_fails_by_name_is_a_catch() {
        let mutant = mutant(false);
        assert!(row(&mutant, Said::Red(String::new())).is_caught());
        for said in [Said::Green, Said::Hung, Said::Nothing] {
            assert!(!row(&mutant, said.clone()).is_caught(), "{said:?}");
        }
        let broken = Row { mutant: &mutant, fate: Fate::Broken, took: Duration::ZERO };
        assert!(!broken.is_caught());
        assert!(sum(&[broken]).ends_with("not: a"));
    }

    #[test]
    fn a_hang_is_a_catch_where_it_is_the_symptom() {
        let mutant = mutant(true);
        assert!(row(&mutant, Said::Hung).is_caught());
        assert!(!row(&mutant, Said::Nothing).is_caught());
    }
}
