//! The hostile load: the release binary in a real memory limit, with every
//! bound driven to its count.
//!
//! It needs Linux, root (for the control group), DATABASE_URL and SERVER_BIN;
//! `cargo xtask test` sets both. Where no group can be made, the same load runs
//! against MEMORY_LIMIT alone and resident memory is judged; the run says so.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod chart;
mod content;
mod gauge;
mod load;
mod long;
mod planned;
mod scene;
mod storm;
mod terms;
mod watch;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    if !cfg!(target_os = "linux") {
        println!("not run: what a process holds is read from Linux's /proc");
        return std::process::ExitCode::SUCCESS;
    }
    let mut trials = vec![
        Trial::test("the_stack_of_a_chart_adds_up", chart::check::stack_adds_up),
        Trial::test("a_chart_keeps_the_peak", chart::check::keeps_the_peak),
        Trial::test("a_chart_is_well_formed", chart::check::is_well_formed),
        Trial::test("planned_load_stays_under_the_load_line", planned::stays_under_the_load_line),
        Trial::test(
            "a_neighbour_makes_it_shed_and_not_die",
            gauge::sheds_for_a_neighbour_and_survives,
        ),
        Trial::test(
            "it_survives_each_attack_and_all_at_once",
            storm::survives_each_attack_and_all_at_once,
        ),
        Trial::test("the_naive_twin_is_killed_in_the_same_limit", planned::naive_twin_is_killed),
        // Asked for by `--ignored`: minutes, and 10 GiB of disk.
        Trial::test("a_million_requests_leave_nothing", long::a_million_requests)
            .with_ignored_flag(true),
        Trial::test("ten_gib_pass_through_the_limit", long::ten_gib).with_ignored_flag(true),
    ];
    trials.extend(terms::trials());
    // One after the other: each is measured.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let conclusion = libtest_mimic::run(&arguments, trials);
    terms::show();
    conclusion.exit_code()
}
