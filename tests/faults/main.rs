//! Faults: the release binary, and what befalls it. It needs SERVER_BIN and
//! DATABASE_URL, which `cargo xtask test` sets; what stops or stalls a Postgres
//! has one of its own.
//!
//! Which fault has which outcome, and which test holds it:
//!
//! | fault | outcome | test |
//! | --- | --- | --- |
//! | `kill -9` at any moment of a mixed load | what was answered 201 is whole; nothing else is visible but whole files whose answer was lost; leftovers are swept | `kill::nothing_is_lost_or_half_visible_over_fifty_kills` |
//! | Postgres stops, and starts again | 503 with Retry-After, readiness follows, recovery by itself, nothing lost | `database::a_database_that_stops_is_waited_for_by_the_clients` |
//! | Postgres stalls | the same, within 15 s; the process stays alive and quick | `database::a_database_that_stalls_is_given_up_and_comes_back` |
//! | SIGTERM, all in flight end in time | they end whole; exit code 0 | `signals::what_is_in_flight_ends_whole_within_the_deadline` |
//! | SIGTERM, some do not | cut off, visibly; nothing half is kept; exit code 3 | `signals::what_is_in_flight_past_the_deadline_is_cut_off` |
//! | silent, slow and stalled clients, alone | each holds its place until its deadline at most, and leaves nothing | `clients::who_is_slow_or_silent_holds_a_place_until_its_deadline_at_most` |
//! | the same, at the connection cap | probes are answered within a second; places come back | `clients::at_the_connection_cap_probes_are_answered_and_places_come_back` |
//! | an honest slow upload of 2 GiB | 201, whatever it takes | `clients::an_honest_slow_upload_is_never_cut_off` |
//! | two servers on one database and folder | each gives what the other takes, and follows its changes | `replicas::what_one_replica_takes_the_other_gives_and_a_change_is_seen_by_both` |
//! | one deletes what the other sends | it is sent whole | `replicas::a_download_of_one_replica_outlives_a_delete_by_the_other` |
//! | one sweeps while the other receives; one dies | nothing held is swept; the other goes on | `replicas::one_replica_sweeps_nothing_of_the_other_and_goes_on_without_it` |
//! | a newer version migrates the database | the older one goes on, and starts again | `versions::a_server_survives_the_migration_of_a_newer_version` |
//! | an older version on this one's schema | what it asks is answered, and what it writes is read | `versions::what_an_older_version_asks_is_answered` |
//! | the clock steps, by hours, either way | no file is lost or swept, no deadline passes, no answer is dated later than it is | `clock::a_clock_that_steps_changes_nothing` |
//! | a commit is answered too late, or never | 503; the file is whole, or swept | `http::database::a_record_whose_answer_was_lost_keeps_its_content`, `http::database::an_insert_that_never_came_leaves_content_to_the_sweep` |
//! | the disk is full | 507, nothing is kept, what fits is taken | `http::store::a_full_disk_is_told_and_keeps_nothing` (root, Linux) |
//! | the quota is reached | the same | `http::quota::what_does_not_fit_is_told_and_what_fits_to_the_byte_is_taken` |
//! | content vanished, or was cut | 500, logged | `http::download::content_of_another_size_or_none_is_never_sent` |
//! | content was altered, or is cut while it is sent | the whole: broken off before its end, logged; a range can't be checked | `http::download::altered_content_never_looks_like_a_complete_answer`, `http::download::content_that_shrinks_under_way_breaks_the_download_off` |
//! | any of these, and leftovers | `server fsck` finds them, `--repair` does what is safe | `http::fsck::every_disagreement_is_told_and_repaired_as_far_as_is_safe` |
//! | a disk that hangs | what does not need it goes on; a shutdown ends at its deadline, exit code 3 | `disk::a_disk_that_hangs_does_not_hold_the_shutdown_up` |
//! | nobody reads the log; it can't be written | lines are dropped and counted, all goes on | `log::a_log_that_nobody_reads_stops_nothing`, `log::a_log_that_cannot_be_written_stops_nothing` |
//! | no file descriptor is left | who is there is served, who comes waits; then all goes on | `descriptors::without_descriptors_it_waits_and_goes_on` |

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod clients;
mod clock;
mod database;
mod descriptors;
mod disk;
mod kill;
mod log;
mod replicas;
mod rig;
mod signals;
mod versions;

/// A name in the table that is no test says nothing.
#[test]
fn the_table_names_tests_that_exist() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = include_str!("main.rs").lines().filter(|line| line.starts_with("//! | "));
    let names: Vec<&str> =
        table.flat_map(|line| line.split('`')).filter(|name| name.contains("::")).collect();
    assert!(names.len() > 5, "{}", names.len());
    for name in names {
        let (suite, rest) = match name.split("::").collect::<Vec<_>>()[..] {
            [suite, file, test] => (suite, (file, test)),
            [file, test] => ("faults", (file, test)),
            _ => panic!("{name}"),
        };
        let file = folder.join(suite).join(rest.0).with_extension("rs");
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("fn {}(", rest.1)), "{name}");
    }
}
