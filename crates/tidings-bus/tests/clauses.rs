//! What the bus promises, clause by clause, and which tests show it.
//!
//! Read it as a table of contents. It is kept true by its own test: every test that is named exists, and no file of
//! tests is left out.

use std::{collections::BTreeSet, fs, path::Path};

const CLAUSES: &[(&str, &[&str])] = &[
    // The emitter.
    (
        "on; in the order of registration",
        &[
            "emitting::listeners_are_called_in_the_order_of_registration_also_between_types_and_patterns",
            "model::it_calls_whom_a_plain_list_says_in_that_order",
        ],
    ),
    (
        "once: gone before its call, also under concurrent emits",
        &[
            "once::it_is_gone_before_its_call",
            "once::threads_that_emit_at_once_call_it_exactly_once_however_they_emit",
            "interleavings::a_once_listener_is_called_once_whoever_emits_at_the_same_time",
        ],
    ),
    (
        "off",
        &[
            "emitting::a_listener_that_is_ended_while_an_event_is_emitted_is_not_called_any_more",
            "threads::after_a_guard_has_been_dropped_no_call_begins_on_any_thread",
            "interleavings::a_listener_that_has_ended_before_an_emission_began_is_not_called",
        ],
    ),
    (
        "prepend",
        &[
            "emitting::prepended_listeners_go_first_the_latest_before_all",
            "priority::prepending_goes_before_its_own_priority_and_never_before_a_higher_one",
        ],
    ),
    (
        "priority: numbers, the higher first",
        &[
            "priority::higher_priorities_go_first_and_registration_order_decides_within_one",
            "priority::types_patterns_any_and_asynchronous_listeners_stand_in_one_order_however_it_is_emitted",
        ],
    ),
    (
        "emit tells how many ran",
        &["emitting::emitting_tells_how_many_listeners_ran_and_reaches_no_other_type"],
    ),
    (
        "who is called is settled when emitting begins",
        &[
            "emitting::a_listener_that_is_added_while_an_event_is_emitted_hears_the_next_one",
            "envelopes::also_under_a_name_that_there_is_no_room_for_who_is_ended_meanwhile_is_not_called",
        ],
    ),
    (
        "counts, names, removing all",
        &[
            "emitting::counts_and_names_tell_what_is_listened_to",
            "emitting::everything_under_one_name_or_pattern_can_be_removed_and_everything_at_all",
        ],
    ),
    (
        "nothing is allocated for listeners in place",
        &["allocation::emitting_to_listeners_in_place_allocates_nothing"],
    ),
    // Ownership.
    (
        "a guard that is dropped ends its subscription, and `forever` keeps it",
        &["ownership::a_subscription_ends_when_its_guard_is_dropped_and_not_before"],
    ),
    (
        "an owner's subscriptions end with it",
        &["ownership::subscriptions_end_with_their_owner_and_others_stay"],
    ),
    (
        "weak subscriptions do not keep their target",
        &[
            "ownership::a_weak_subscription_does_not_keep_its_target_and_ends_with_it",
            "ownership::a_weak_listener_to_a_pattern_ends_with_its_target_and_is_not_counted_then",
            "asynchronous::an_asynchronous_listener_for_a_target_ends_with_it_and_keeps_it_during_a_call",
        ],
    ),
    // The leak watch.
    (
        "one warning at 80 % of ten and one at ten, with file and line",
        &[
            "leaks::by_default_it_warns_at_eight_and_at_ten_and_never_again",
            "warnings::what_is_suspected_is_logged_with_its_places_also_where_nobody_listens_to_notices",
        ],
    ),
    (
        "the limit can be set, and be none",
        &["leaks::limits_percentages_exceptions_and_no_limit_are_what_was_said"],
    ),
    (
        "a report of counts, places and growth",
        &[
            "leaks::the_report_tells_counts_places_limits_warnings_and_growth_on_the_bus_s_clock",
            "leaks::a_report_names_a_bounded_number_of_places",
        ],
    ),
    ("off unless asked for", &["leaks::a_bus_that_was_not_asked_to_watch_does_not_warn"]),
    // Isolation.
    (
        "who fails or panics stops no other",
        &["isolation::a_listener_that_panics_or_fails_stops_no_other_and_counts_as_one_that_ran"],
    ),
    (
        "the error channel is told event, error, data and time",
        &[
            "isolation::the_error_channel_is_told_event_data_error_listener_and_time",
            "logging::what_nobody_is_told_is_logged",
        ],
    ),
    (
        "an error listener that fails does not recurse",
        &[
            "error_channel::an_error_listener_that_fails_does_not_recurse_and_stops_no_other",
            "error_channel::an_error_listener_that_emits_what_fails_again_does_not_recurse",
            "error_channel::an_error_listener_that_starts_asynchronous_failures_does_not_recurse",
        ],
    ),
    // Asynchronous listeners.
    (
        "in parallel or in series",
        &[
            "asynchronous::in_parallel_listeners_can_wait_for_each_other",
            "asynchronous::in_series_each_begins_when_the_one_before_has_ended",
        ],
    ),
    (
        "their end can be awaited",
        &[
            "asynchronous::awaiting_an_emission_waits_for_every_asynchronous_listener",
            "asynchronous::emitting_hands_them_to_the_runtime_and_settling_waits_for_them",
            "runtimes::an_awaited_emission_needs_no_runtime",
        ],
    ),
    (
        "their errors reach retries, which call only who failed",
        &[
            "retrying::a_retry_does_not_call_the_listeners_again_that_had_succeeded",
            "retrying::the_waits_are_those_it_was_told_by_the_clock_of_the_bus",
        ],
    ),
    (
        "their errors reach the figures, and whatever guards who awaits",
        &[
            "statistics::asynchronous_listeners_are_measured_from_start_to_end_and_are_never_called_slow",
            "asynchronous::a_report_is_a_failure_that_says_whether_trying_again_can_help",
        ],
    ),
    // Topics.
    (
        "`*` is one segment, `**` any number, anywhere",
        &["envelopes::a_pattern_hears_the_names_it_matches_and_no_others"],
    ),
    (
        "an invalid pattern is refused with the column",
        &["envelopes::an_invalid_pattern_is_refused_with_the_column"],
    ),
    (
        "filters by content: a predicate, and one that can be written",
        &[
            "filters::listeners_are_given_only_what_meets_all_their_conditions",
            "filters::every_condition_holds_where_it_should_and_nowhere_else",
            "filters::a_filter_that_is_none_or_too_large_is_refused",
        ],
    ),
    // History.
    (
        "a hundred a topic unless said otherwise",
        &["history::by_default_a_hundred_are_kept_and_without_being_asked_none"],
    ),
    (
        "the last ones, or those since a time",
        &[
            "history::a_late_listener_is_given_the_last_ones_in_order_and_then_those_that_come",
            "history::events_since_a_time_are_those_on_the_bus_s_clock",
        ],
    ),
    (
        "without gap or duplicate",
        &[
            "history::with_many_threads_each_late_listener_is_given_every_event_once_and_each_thread_s_in_order",
            "history::one_that_joins_after_an_emission_has_begun_and_before_its_event_is_kept_is_given_that_event_once",
        ],
    ),
    // Modules, namespaces, middleware.
    (
        "modules are registered, got, listed and unregistered by name",
        &["modules::they_are_registered_found_listed_and_unregistered_by_name"],
    ),
    (
        "a duplicate is an error",
        &[
            "modules::a_name_that_is_taken_is_refused_before_anything_is_set_up",
            "plugins::two_of_one_name_are_refused_and_the_first_stays",
        ],
    ),
    (
        "a clean-up removes only its own",
        &[
            "modules::its_clean_up_removes_its_own_subscriptions_and_no_others",
            "plugins::it_is_listed_works_and_leaves_nothing_when_it_is_taken_out",
        ],
    ),
    (
        "a namespace prefixes what is published and subscribed",
        &[
            "namespaces::patterns_are_prefixed_and_listeners_see_the_whole_name",
            "namespaces::every_way_to_subscribe_and_to_emit_is_in_the_namespace",
            "together::what_is_emitted_in_a_namespace_is_kept_counted_and_changed_under_its_whole_name",
        ],
    ),
    (
        "middleware changes or cancels, in a stated order",
        &[
            "middleware::what_it_changes_is_what_every_kind_of_listener_hears_however_it_was_emitted",
            "middleware::what_it_cancels_nobody_hears_and_the_emitter_is_told_so_and_it_is_counted",
            "middleware::the_first_is_outermost_and_priority_decides_before_registration_also_between_types_and_patterns",
        ],
    ),
    // Questions, waits and streams.
    (
        "question and answer belong together",
        &[
            "requests::question_and_reply_are_envelopes_that_belong_together",
            "requests::many_at_once_are_not_mixed_up",
        ],
    ),
    (
        "thirty seconds unless said otherwise",
        &["requests::without_an_answer_it_times_out_after_thirty_seconds_or_what_was_said"],
    ),
    (
        "giving up leaves nothing behind",
        &[
            "requests::dropped_while_it_waits_it_leaves_nothing_behind",
            "waiting::dropped_it_leaves_no_listener_and_no_sleeper",
            "streams::dropping_it_ends_the_subscription_and_lets_go_of_what_waits",
        ],
    ),
    (
        "the responder's error comes back typed",
        &["requests::an_answer_and_the_responders_own_error_come_back_typed"],
    ),
    // Statistics.
    (
        "of a topic: count, last time, subscribers",
        &["statistics::topics_tell_how_often_when_last_and_to_how_many_also_where_nobody_listens"],
    ),
    (
        "of a listener: calls, errors, percentiles",
        &["statistics::listeners_tell_calls_errors_and_percentiles"],
    ),
    (
        "a warning at 1 ms and at 10 ms",
        &["statistics::a_slow_listener_is_told_of_once_a_level_until_the_statistics_are_reset"],
    ),
    (
        "a bounded log of emissions, to be asked",
        &["statistics::emissions_are_logged_to_be_asked_by_pattern_and_time_and_only_the_last_are_kept"],
    ),
    (
        "nothing is unbounded",
        &[
            "statistics::what_goes_beyond_the_bounds_is_counted_among_the_others",
            "faults::nothing_that_is_measured_or_logged_is_kept_for_ever",
        ],
    ),
    ("off unless asked for", &["statistics::a_bus_that_was_not_asked_to_has_none"]),
    // What has broken elsewhere.
    (
        "a notice that causes notices does not fill the stack",
        &["faults::notices_that_cause_notices_do_not_fill_the_stack_however_often_is_emitted"],
    ),
    (
        "once fires once, also where every emission is isolated",
        &["faults::once_fires_once_although_every_emission_is_isolated_measured_kept_and_changed"],
    ),
    (
        "an emission that is measured delivers once",
        &["faults::an_emission_that_is_measured_kept_and_changed_delivers_once_and_is_counted_once"],
    ),
    (
        "an error listener is not called for ever",
        &["faults::an_error_listener_that_fails_and_emits_what_fails_is_called_once_a_failure"],
    ),
    (
        "a retry does not call again who had succeeded",
        &["retrying::a_retry_does_not_call_the_listeners_again_that_had_succeeded"],
    ),
];

#[test]
fn every_clause_has_tests_that_exist_and_no_file_of_tests_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let named: BTreeSet<&str> = CLAUSES.iter().flat_map(|(_, tests)| *tests).copied().collect();
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if path.is_file() && stem != "clauses" {
            files.insert(stem);
        }
    }
    for test in &named {
        let (file, function) = test.split_once("::").expect("file::test");
        let text = fs::read_to_string(folder.join(format!("{file}.rs"))).unwrap_or_default();
        assert!(text.contains(&format!("fn {function}(")), "there is no {test}");
    }
    let with_clauses: BTreeSet<String> =
        named.iter().filter_map(|test| test.split("::").next()).map(str::to_owned).collect();
    assert_eq!(files, with_clauses, "files of tests, and those that clauses name");
    assert!(CLAUSES.iter().all(|(clause, tests)| !clause.is_empty() && !tests.is_empty()));
}
