//! Behaviour over the wire: the real service, real sockets, a database and a
//! folder a test. At its end each test checks that nothing is left behind
//! ([`rig::Service::end`]), and each error that it is a proper problem document
//! ([`rig::problem`]).
//!
//! Which test holds which answer, and what else it holds:
//!
//! | `POST /v1/files` | test |
//! | --- | --- |
//! | 100 | `expectation::a_body_that_will_be_taken_is_asked_for` |
//! | 201 | `upload::what_goes_up_comes_down_the_same`, `upload::the_answer_is_the_record` |
//! | 400 query | `names::a_name_is_given_once` |
//! | 400 digest | `digest::a_digest_that_is_none_is_refused` |
//! | 400 body | `upload::a_broken_body_leaves_nothing_behind`, `lengths::a_body_that_ends_before_its_length_is_told_and_not_kept` |
//! | 201 form | `multipart::files_of_one_form_are_published_together` |
//! | 400, 413, 422 form | `multipart::a_form_that_is_none_is_refused`, `multipart::a_head_that_never_ends_is_refused`, `multipart::all_files_of_a_form_or_none`, `multipart::a_form_that_can_not_fit_is_not_asked_for` |
//! | 408 | `upload::a_stalled_upload_is_told_and_leaves_nothing_behind`, `multipart::a_form_that_stalls_is_told_and_leaves_nothing_behind` |
//! | 413 | `lengths::a_length_too_large_is_refused_before_the_body`, `lengths::a_client_that_is_still_sending_sees_the_refusal` |
//! | 415 | `upload::encoded_content_is_refused` |
//! | 422 name | `names::names_that_deceive_or_are_none_are_refused` |
//! | 422 type | `upload::a_content_type_is_kept_within_bounds` |
//! | 422 digest | `digest::another_digest_is_refused_and_nothing_is_kept`, `digest::each_part_of_a_form_is_held_to_its_own_digest` |
//! | 500 store | `store::without_a_folder_to_stage_in_an_upload_fails`, `store::without_a_folder_to_publish_in_nothing_is_kept` |
//! | 501 | `lengths::a_transfer_coding_that_is_not_undone_is_refused` |
//! | 503 permits | `upload::one_upload_too_many_is_refused_and_the_place_comes_back`, `lengths::a_client_that_is_still_sending_sees_that_there_is_no_place` |
//! | 503 memory | `gauge::past_the_first_threshold_nothing_large_is_begun_and_connections_end` |
//! | 503 answer lost | `database::a_record_whose_answer_was_lost_keeps_its_content`, `database::an_insert_that_never_came_leaves_content_to_the_sweep` |
//! | 507 quota | `quota::what_does_not_fit_is_told_and_what_fits_to_the_byte_is_taken`, `quota::uploads_at_once_never_pass_it_and_some_are_stored`, `quota::a_file_takes_its_overhead_however_small_it_is` |
//! | 507 disk | `store::a_full_disk_is_told_and_keeps_nothing` (root, Linux) |
//!
//! | `GET`, `HEAD /v1/files` | test |
//! | --- | --- |
//! | 200 encoded | `compression::what_is_encoded_decodes_to_the_same`, `compression::head_says_how_get_would_be_encoded`, `compression::without_an_encoder_the_response_is_sent_as_it_is` |
//! | 200 | `list::the_newest_file_comes_first_and_each_is_its_record`, `list::a_walk_finds_what_stands_once_while_others_come_and_go` |
//! | 400, 422 | `list::a_list_that_cannot_be_is_refused` |
//! | 503 permits | `export::one_export_too_many_is_refused_and_the_place_comes_back` |
//!
//! | `GET`, `HEAD /v1/files/export` | test |
//! | --- | --- |
//! | 200 | `export::both_forms_read_back_as_the_records`, `export::the_form_is_the_one_that_the_client_likes` |
//! | 200 broken off | `export::without_its_database_an_export_breaks_off` |
//! | 406 | `export::a_form_that_is_not_there_is_told` |
//! | 503 memory | `gauge::past_the_first_threshold_nothing_large_is_begun_and_connections_end` |
//! | 503 permits | `export::one_export_too_many_is_refused_and_the_place_comes_back` |
//!
//! | `PATCH /v1/files/{id}` | test |
//! | --- | --- |
//! | 200 | `rename::the_answer_is_the_record_with_its_new_tag`, `rename::a_condition_that_holds_lets_the_rename_through` |
//! | 400 | `json::what_is_not_json_of_this_shape_is_refused`, `json::a_coding_that_is_broken_is_refused` |
//! | 404 | `rename::what_is_not_there_cannot_be_renamed` |
//! | 408 | `json::a_body_that_stalls_is_told_and_changes_nothing` |
//! | 412 | `rename::a_rename_of_another_state_is_refused`, `rename::of_two_renames_at_once_one_is_told_that_it_came_second` |
//! | 413 | `json::a_body_too_large_is_refused_compressed_or_not` |
//! | 415 | `json::what_is_said_to_be_no_json_is_refused` |
//! | 422 | `rename::a_new_name_keeps_the_rules_of_names` |
//!
//! | `/v1/files/{id}` | test |
//! | --- | --- |
//! | GET 200 | `record::a_record_has_a_strong_etag_of_its_own`, `record::head_tells_of_the_record_without_it` |
//! | DELETE 204, 404 | `delete::what_is_deleted_is_gone`, `delete::what_was_never_there_cannot_be_deleted` |
//! | DELETE 412 | `delete::a_delete_of_another_state_is_refused` |
//!
//! | `GET`, `HEAD /v1/files/{id}/content` | test |
//! | --- | --- |
//! | 200 | `download::a_download_says_what_it_is_and_does_no_harm`, `ranges::what_is_no_range_or_several_gets_the_whole`, `ranges::a_range_that_is_oddly_written_gets_its_bytes_or_the_whole` |
//! | 200 broken off | `download::altered_content_never_looks_like_a_complete_answer`, `download::content_that_shrinks_under_way_breaks_the_download_off` |
//! | 206 | `ranges::one_range_gets_its_bytes_and_no_others`, `ranges::a_range_holds_only_for_the_representation_it_names` |
//! | 416 | `ranges::a_range_outside_of_the_content_is_refused` |
//! | 500 content | `download::content_of_another_size_or_none_is_never_sent` |
//! | 503 permits | `download::one_download_too_many_is_refused_and_the_place_comes_back` |
//!
//! | `GET`, `HEAD /v1/files/{id}/stats` | test |
//! | --- | --- |
//! | 200 | `stats::a_download_counts_once_however_it_is_resumed` |
//! | 404 | `stats::what_is_not_there_has_no_statistics` |
//!
//! | record and content | test |
//! | --- | --- |
//! | 200, 206 | `conditional::nothing_was_modified_later_than_its_answer` |
//! | 304 | `conditional::what_a_client_has_already_is_not_sent_again`, `conditional::the_date_that_was_sent_holds_for_the_fraction_of_a_second_behind_it` |
//! | 404 | `download::what_is_not_there_is_not_found` |
//! | 412 | `conditional::a_precondition_that_does_not_hold_is_told` |
//!
//! | `/livez`, `/readyz` | test |
//! | --- | --- |
//! | 200 | `probes::a_healthy_service_is_alive_and_ready`, `probes::the_admin_listener_answers_whatever_clients_hold`, `access::probes_are_open_to_all` |
//! | 503 | `probes::without_its_store_it_is_alive_and_not_ready`, `probes::without_its_database_it_is_alive_and_not_ready`, `shutdown::readiness_fails_from_the_beginning_of_a_shutdown`, `shutdown::to_the_end_the_admin_listener_says_that_it_is_not_ready`, `shutdown::a_balancer_has_time_to_see_that_readiness_fails` |
//!
//! | `/memory` | test |
//! | --- | --- |
//! | 200 | `memory::what_is_in_use_is_told_beside_the_plan_and_its_peak_stays`, `memory::all_that_is_taken_is_in_use` |
//!
//! | every route | test |
//! | --- | --- |
//! | 2xx, by its whole URL | `access::a_target_may_name_this_service_as_host_does` |
//! | 400 Host | `access::a_request_names_one_host` |
//! | 401 | `access::without_its_token_nothing_is_told` |
//! | 403 | `access::without_tokens_pages_from_elsewhere_are_refused`, `access::a_target_that_names_another_host_is_refused` |
//! | 404 no route | `problem::what_is_no_route_is_not_found` |
//! | 405 | `problem::a_method_that_is_not_allowed_is_told_which_are` |
//! | 500 query | `problem::a_query_that_fails_is_in_the_log_and_not_in_the_answer` |
//! | no 406 | `compression::what_a_client_accepts_never_makes_an_answer_an_error` |
//! | 429 | `rate_limit::who_asks_too_often_is_told_when_to_come_again`, `rate_limit::who_walks_many_networks_shuts_few_others_out` |
//! | 503 memory | `gauge::past_the_second_threshold_only_probes_are_answered` |
//! | 503 requests | `admission::a_response_that_is_not_read_holds_its_place_and_probes_need_none` |
//! | 503 database | `database::without_its_database_the_service_says_later_and_keeps_nothing`, `database::who_finds_no_database_connection_in_time_is_told_later` |
//! | 503 connections | `connections::with_every_connection_busy_one_more_is_told_later` |
//! | 400, 431 before any route | `connections::what_is_no_request_is_refused_without_a_body`, `connections::a_head_of_a_hundred_fields_or_a_buffer_is_served_and_no_more`, `lengths::lengths_that_are_none_are_refused` |

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod access;
mod admission;
mod cache;
mod compression;
mod conditional;
mod connections;
mod database;
mod deadlines;
mod delete;
mod digest;
mod download;
mod expectation;
mod export;
mod fsck;
mod gauge;
mod json;
mod lengths;
mod list;
mod memory;
mod multipart;
mod names;
mod probes;
mod problem;
mod quota;
mod ranges;
mod rate_limit;
mod record;
mod rename;
mod rig;
mod shutdown;
mod stats;
mod store;
mod sweep;
mod upload;
mod vanish;

/// A name in the table that is no test says nothing.
#[test]
fn the_table_names_tests_that_exist() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("http");
    let table = include_str!("main.rs").lines().filter(|line| line.starts_with("//! | "));
    let names: Vec<&str> =
        table.flat_map(|line| line.split('`')).filter(|name| name.contains("::")).collect();
    assert!(names.len() > 40, "{}", names.len());
    for name in names {
        let (file, test) = name.split_once("::").unwrap();
        let text = std::fs::read_to_string(folder.join(file).with_extension("rs")).unwrap();
        assert!(text.contains(&format!("async fn {test}(")), "{name}");
    }
}
