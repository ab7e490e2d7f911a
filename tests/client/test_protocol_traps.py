"""Every trap of PROTOCOL 1 to 9, 11, 13.3 and 15 that concerns a client, with the test that springs it.

Each row is a sentence of that document and the name of a test in this folder. The test below fails when
such a test is gone or renamed; what the traps do is in the tests themselves.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REST, SOCKET, DELIVERY = "test_traps_rest", "test_traps_websocket", "test_traps_delivery"
SESSION, GROUPED, LINE = "test_ws_session", "test_grouped_rest", "test_grouped_websocket"
ONE = "test_one_socket"
ERRORS, RETRIES, STREAM, RUN, ENDS = (
    "test_errors",
    "test_retries",
    "test_streaming",
    "test_run",
    "test_run_ends",
)

TRAPS = [
    # 1: REST and the envelope
    ("1.1 the body is always an array", REST, "test_body_is_an_array_also_for_one_task"),
    ("1.1 one variant of authentication, not both", REST, "test_key_goes_into_the_header_and_not_into_the_body_as_well"),
    ("1.1 an authentication item beside results", REST, "test_authentication_item_beside_the_results_is_filtered_out"),
    ("1.1 a user agent of our own", GROUPED, "test_requests_name_client_and_key"),
    ("1.2 tasks of an array are independent", GROUPED, "test_each_task_of_a_mixed_answer_gets_its_own_outcome"),
    ("1.2 matched by UUID, never by place", REST, "test_answers_are_matched_by_uuid_and_never_by_place"),
    ("1.2 several polls in one POST, one per POST as fallback", GROUPED, "test_platform_that_takes_no_groups_is_asked_singly_from_then_on"),
    ("1.2 one bad task refuses its whole group", GROUPED, "test_poisonous_task_costs_only_itself_an_answer"),
    ("1.3 an empty `errors` is none", REST, "test_empty_errors_are_no_error"),
    ("1.3 data and errors in one answer", ENDS, "test_data_and_errors_in_one_answer_lose_nothing"),
    ("1.3 the body comes before the status", REST, "test_body_is_read_before_the_status"),
    ("1.3 HTTP 400 with `data: []`", REST, "test_wholly_rejected_task_is_refused"),
    ("1.3 singular `error`", REST, "test_singular_error_is_an_error"),
    ("1.3 `error: true`", REST, "test_oldest_form_of_an_error_is_read"),
    ("1.3 a top-level array", REST, "test_envelopes_in_an_array_are_read"),
    ("1.4 `parameter` may be a list", ERRORS, "test_parameter_is_one_name_or_a_tuple_of_them"),
    ("1.4 the scope may stand in `context`", ERRORS, "test_error_of_a_conflict_takes_its_scope_from_the_context"),
    ("1.5 each status by its meaning", "test_verdicts", "test_submit_outcome_follows_the_table"),
    ("1.5 a broken answer proves nothing", GROUPED, "test_broken_answer_is_unclear_and_sent_once"),
    ("1.5 Retry-After in seconds or as a date", REST, "test_retry_after_decides_the_pause"),
    ("1.5 Retry-After is bounded", REST, "test_pause_that_is_too_long_is_the_callers_to_make"),
    # 2: WebSocket
    ("2.1 authentication is the first frame", SOCKET, "test_key_goes_into_the_first_frame_and_into_no_header"),
    ("2.1 arrays out, objects in", SOCKET, "test_client_sends_arrays_and_reads_objects"),
    ("2.1 auth failure without a task", SOCKET, "test_refused_key_is_told_in_either_form_and_not_tried_again"),
    ("2.1 stray frames before the auth reply", SOCKET, "test_stray_frames_before_the_auth_answer_are_skipped"),
    ("2.1 items of several tasks in one frame", ONE, "test_parallel_calls_on_one_socket_get_only_their_own_items_and_errors"),
    ("2.1 both task types of a poll's answer", SESSION, "test_poll_accepts_both_task_types_of_an_answer"),
    ("2.1 getTaskDetails under a running task's UUID", LINE, "test_archive_and_poll_of_one_task_do_not_mix"),
    ("2.2 an idle socket is closed after 120 s", SESSION, "test_heartbeat_pings_and_any_frame_counts_as_life"),
    ("2.2 a resume delivers without a resend", SOCKET, "test_sync_result_is_delivered_by_the_resumed_session_and_not_asked_for_again"),
    ("2.2 do not rely on replay", SESSION, "test_pushed_result_that_is_not_replayed_fails"),
    ("2.2 a replay may repeat what had arrived", SESSION, "test_what_a_resumed_session_delivers_again_counts_once"),
    ("2.2 an unknown session: an error", SESSION, "test_refused_resume_becomes_a_new_session_and_ends_no_request"),
    ("2.2 an unknown session: the line ends", SESSION, "test_resume_that_ends_the_line_is_followed_by_a_new_session"),
    ("2.2 a graceful close is followed by a reconnect", LINE, "test_graceful_close_by_the_server_is_followed_by_a_reconnect"),
    ("2.3 sync results in several frames", RUN, "test_sync_results_on_a_socket_are_heard_one_by_one"),
    ("2.3 an error of one result leaves the others", SESSION, "test_failed_result_leaves_time_for_the_others"),
    ("2.3 validation errors in place of the ACK", LINE, "test_outcomes_gather_over_frames"),
    ("2.3 modelUpload pushes its phases", "test_utilities", "test_upload_is_followed_through_its_phases_and_the_answer_is_the_last"),
    ("2.3 an error that names nobody kills nobody", ONE, "test_error_that_names_nobody_leaves_the_other_calls_alone"),
    ("2.3 ... and is for the only one who waits", SESSION, "test_error_that_names_nobody_is_for_the_only_one_who_waits"),
    ("2.4 a dead line is noticed", LINE, "test_line_that_answers_no_ping_is_given_up"),
    ("2.4 frames of more than 1 MiB", LINE, "test_frame_of_many_megabytes_is_read"),
    # 3: delivery and polling
    ("3.1 async unless said otherwise", ENDS, "test_every_task_type_goes_out_as_it_is_named_and_async"),
    ("3.1 training has no deliveryMethod", ENDS, "test_training_has_no_delivery_method"),
    ("3.1 webhookURL makes the answer an ACK", DELIVERY, "test_webhook_makes_the_answer_of_a_sync_task_an_acknowledgement"),
    ("3.1 cancel only stops the waiting", ENDS, "test_cancel_event_stops_only_the_waiting"),
    ("3.2 one ACK whatever numberResults is", DELIVERY, "test_one_acknowledgement_stands_for_any_number_of_results"),
    ("3.2 the first answer may hold the results", DELIVERY, "test_first_answer_that_holds_the_results_needs_no_poll"),
    ("3.2 ... or `data: []`", DELIVERY, "test_empty_first_answer_is_an_acknowledgement"),
    ("3.3 getResponse has no other parameters", DELIVERY, "test_question_carries_nothing_but_the_task"),
    ("3.3 failures of form A and form B", RUN, "test_failed_item_is_heard_before_the_call_raises"),
    ("3.3 unknown statuses are not final", DELIVERY, "test_status_that_is_not_final_is_waited_for"),
    ("3.3 a UUID alone is not final", DELIVERY, "test_uuid_without_an_output_is_not_final"),
    ("3.3 what makes an item final", DELIVERY, "test_payload_without_a_status_is_final"),
    ("3.3 progress on change only", ENDS, "test_progress_is_heard_when_its_value_changes_and_only_then"),
    ("3.3 polls are cumulative", DELIVERY, "test_result_that_reappears_in_each_poll_is_heard_once"),
    ("3.3 resultIndex first", RUN, "test_result_index_orders_before_arrival"),
    ("3.3 texts without a media UUID", DELIVERY, "test_several_texts_of_one_task_are_several_results"),
    ("3.5 unknown tasks beside known ones", GROUPED, "test_polls_are_grouped_and_tell_unknown_from_running"),
    ("3.5 unknown may mean not yet", DELIVERY, "test_fresh_task_that_is_not_known_yet_is_asked_for_again"),
    ("3.5 a conflict after a resend is an ACK", DELIVERY, "test_conflict_after_a_resend_means_that_the_task_is_there"),
    ("3.5 a conflict of the first try is not", DELIVERY, "test_conflict_of_the_first_try_is_raised"),
    ("3.5 UUIDs are version 4", DELIVERY, "test_task_uuid_is_a_version_4"),
    ("3.5 a fresh resend may race", DELIVERY, "test_unclear_submit_is_not_sent_again_at_once"),
    # 5 to 7: parameters and task types
    ("5 slugs become AIRs", RUN, "test_slug_becomes_the_air"),
    ("5 what is not known passes through", ENDS, "test_unknown_parameters_and_large_seeds_pass_unchanged"),
    ("6.1 a result without imageUUID", "test_task_methods", "test_result_without_an_image_uuid_is_a_result"),
    ("6.1 one item per prompt version", DELIVERY, "test_each_version_of_a_prompt_is_a_result"),
    ("6.2 the archive does not know", LINE, "test_unknown_task_in_the_archive_is_an_empty_list"),
    ("6.3 phases over REST", "test_utilities", "test_phases_that_are_only_acknowledged_are_asked_for"),
    # 8: errors
    ("8 every raw code, `timeoutProvider` and `rateLimit` among them", ERRORS, "test_raw_code_has_its_stable_code"),
    ("8 retryable by class", ERRORS, "test_code_says_whether_another_try_has_a_chance"),
    ("8 bare 5xx", ERRORS, "test_bare_5xx_is_a_server_error_that_can_be_tried_again"),
    ("8 taskCancelled, taskFailedOrNotFound", ERRORS, "test_task_that_is_over_may_be_tried_as_a_new_one"),
    ("8 a slow handshake is no verdict on the key", ONE, "test_auth_that_is_not_answered_is_a_timeout_and_no_verdict_on_the_key"),
    ("8 connectionLost of a sync request", SESSION, "test_lost_answer_is_retryable_only_where_it_can_be_asked_for_again"),
    ("8 not only the first error of a list", GROUPED, "test_all_errors_of_a_task_are_kept"),
    # 9: streams
    ("9 over REST also on a WebSocket client", STREAM, "test_stream_of_a_websocket_client_goes_over_http"),
    ("9 comments, [DONE], wrapped chunks", STREAM, "test_text_and_reasoning_come_in_pieces"),
    ("9 line ends", STREAM, "test_any_line_end_ends_a_line"),
    ("9 errors in mid-stream", STREAM, "test_error_in_mid_stream_is_raised_after_the_pieces"),
    ("9 errors before the stream", STREAM, "test_refusal_before_the_stream_is_raised_by_the_first_read"),
    ("9 numberResults above 1", STREAM, "test_several_results_are_refused"),
    ("9 EOF without an end mark", STREAM, "test_stream_without_its_end_is_an_error_that_keeps_the_text"),
    ("9 characters cut in two", STREAM, "test_characters_may_be_cut_anywhere"),
    # 11: what SDK 1.8.0 does
    ("11 the delay: capped, jitter after the cap", RETRIES, "test_delays_grow_are_capped_and_then_spread_by_up_to_a_second"),
    ("11 what is retried", RETRIES, "test_request_is_repeated_as_the_table_says"),
    ("11 a key that is rejected later", SOCKET, "test_key_that_is_withdrawn_fails_what_waits"),
    ("11 requests wait for the line", ONE, "test_requests_wait_for_the_line_and_leave_after_auth"),
    ("11 a group is never sent again", SOCKET, "test_submit_of_many_is_never_sent_again_by_the_line"),
    ("11 ACK and poll under one UUID", SESSION, "test_ack_and_poll_answer_of_one_task_find_their_requests"),
    ("11 numberResults that is no number", DELIVERY, "test_number_of_results_that_is_no_number_counts_as_one"),
    ("11 close() ends streams", STREAM, "test_closing_the_client_ends_open_streams"),
    ("11 close() ends runs", ONE, "test_closed_client_stays_closed_and_ends_its_runs"),
    # 13.3: what the older SDKs had to mend
    ("13.3 half-open guard", ONE, "test_question_goes_to_the_fresh_line_and_never_into_a_stale_one"),
    ("13.3 half-open guard, the instant", SESSION, "test_request_is_not_written_where_a_pong_is_overdue"),
    ("13.3 session UUID", LINE, "test_reconnect_resumes_the_session"),
    ("13.3 zombie: a drop ends what was written", SESSION, "test_drop_ends_what_was_written"),
    ("13.3 send guard", LINE, "test_line_that_comes_up_too_late_means_not_sent"),
    ("13.3 timeout and retry are two sends", DELIVERY, "test_timed_out_try_and_its_repetition_are_exactly_two_sends"),
    ("13.3 an API error is not retried", DELIVERY, "test_refusal_is_not_sent_again"),
    ("13.3 disconnect() does not reconnect", ONE, "test_transport_that_was_closed_opens_no_socket_again"),
    ("13.3 parallel reconnect loops", SOCKET, "test_calls_that_find_the_line_down_share_one_connection"),
]  # fmt: skip


@pytest.mark.parametrize(("trap", "file", "name"), TRAPS, ids=[trap for trap, _, _ in TRAPS])
def test_trap_has_its_test(trap, file, name):
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    module = ast.parse((HERE / f"{file}.py").read_text())

    assert name in {node.name for node in module.body if isinstance(node, functions)}, trap
