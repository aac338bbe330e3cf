//! The real binaries against a real API server: one test binary, so that tests share clusters.
//!
//! What the contract calls a situation, and the tests that make it happen:
//!
//! | situation | tests |
//! |---|---|
//! | source created, changed, annotated | `agent::follow::copies_follow_their_source_in_every_namespace`, `agent::follow::what_is_not_annotated_there_is_not_copied`, `master::copies::a_source_is_copied_updated_restored_and_taken_away` |
//! | switched off by `no` | `agent::grace::only_an_explicit_no_acts_at_once_and_coming_back_costs_no_deletion`, `agent::retain::retained_copies_lose_our_marks_stay_and_are_taken_back`, `master::carried::off_at_the_source_is_off_for_the_agent_whatever_the_replica_said_before` |
//! | switch or source gone, selection no longer matches | `agent::grace::copies_go_after_the_grace_confirmed_by_one_look`, `agent::selection::namespaces_selects_by_name_and_a_change_of_it_acts_after_the_grace`, `agent::selection::a_namespace_or_selection_that_comes_back_in_time_costs_no_deletion`, `master::selection::sources_go_to_the_clusters_that_they_select_as_labels_change` |
//! | master removes its replica with `retain` | `master::carried::a_replica_that_a_master_retains_goes_on_as_a_source_of_its_cluster` |
//! | namespace created, relabelled, opted out or in | `agent::namespaces::a_new_namespace_is_filled_and_so_is_one_that_comes_back`, `agent::namespaces::a_namespace_opts_out_and_in_again`, `agent::selection::a_namespace_that_is_relabelled_out_keeps_its_copy_for_the_grace` |
//! | namespace Terminating or gone | `agent::namespaces::a_terminating_namespace_is_left_alone` |
//! | replica edited or deleted by hand | `agent::drift::a_copy_that_was_edited_or_deleted_is_restored`, `agent::rivals::a_copy_that_is_changed_again_and_again_is_contested`, `agent::rivals::a_copy_that_is_deleted_in_a_loop_is_contested` |
//! | replica's marks removed by hand | `agent::drift::a_copy_without_its_marks_is_never_touched_again` |
//! | foreign object of the same name | `agent::foreign::a_foreign_object_is_refused_and_its_place_is_taken_when_it_goes`, `agent::foreign::a_foreign_object_outlives_the_source`, `agent::adoption::adopt_overwrites_follows_and_releases_what_it_took`, `master::in_the_way::what_is_in_the_way_is_watched_and_its_place_taken_when_it_goes` |
//! | `type` changed, or data under `immutable` | `agent::follow::another_type_and_immutable_data_make_new_copies` |
//! | quota, webhook or policy rejects the write | `agent::rejected::a_quota_rejects_a_copy_with_the_servers_words_and_others_go_on`, `agent::rejected::a_webhook_that_hangs_in_some_namespaces_delays_no_other`, `agent::secrecy::a_webhook_that_quotes_what_it_rejects_is_named_and_not_quoted` |
//! | two sources want one replica | `agent::follow::a_secret_and_a_config_map_of_one_name_do_not_clash`, `master::options::of_two_masters_that_want_one_replica_the_first_keeps_it` |
//! | the remote cluster is the management cluster, or two are one | `master::identity::nothing_is_written_to_the_management_cluster_itself`, `master::identity::of_two_that_lead_to_one_place_the_older_has_it_until_it_goes` |
//! | source namespace recreated, management cluster rebuilt | `agent::lifecycle::a_source_namespace_that_goes_and_comes_back_costs_no_deletion`, `master::take_over::a_rebuilt_management_cluster_deletes_nothing_and_takes_over_by_uid` |
//! | RemoteCluster removed | `master::removal::the_copies_of_a_remote_cluster_go_before_it`, `master::removal::one_that_cannot_be_reached_stays_until_it_can_or_is_let_go`, `master::removal::whoever_deletes_the_namespace_of_all_has_not_meant_the_copies`, `master::removal::whoever_deletes_the_definition_has_not_meant_the_copies`, `master::fleet::remote_clusters_come_change_and_go_without_touching_each_other` |
//! | watch cut, 410 Gone, API server restart | `cluster_client::lists::cluster_client_watches_survive_cuts_and_lost_history`, `agent::thousand::an_api_server_that_restarts_under_load_is_survived`, `master::restarts::api_servers_that_restart_without_their_history_are_survived` |
//! | two processes of a controller | `leaders::take_over::the_standby_takes_over_at_once_from_a_leader_that_ends_and_within_the_lease_from_one_that_is_killed`, `leaders::pause::a_leader_that_wakes_up_after_its_lease_has_gone_changes_nothing`, `leaders::master::a_standby_master_goes_on_with_copies_and_status` |
//!
//! And what can be written on a source (the keys begin with `mw-sync.io/`) or is told of a copy:
//!
//! | key | tests |
//! |---|---|
//! | `mw-sync.io/sync`, `mw-sync`, `--sync-annotation` | `agent::grace::only_an_explicit_no_acts_at_once_and_coming_back_costs_no_deletion`, `agent::spellings::the_switch_has_several_spellings_and_any_no_wins` |
//! | `mw_sec/sync` | `manifests::the_users_annotation_works_as_typed`, `manifests::the_users_annotation_works_in_manifests` |
//! | `clusters`, `cluster-selector` | `master::selection::sources_go_to_the_clusters_that_they_select_as_labels_change` |
//! | `namespaces` | `agent::selection::namespaces_selects_by_name_and_a_change_of_it_acts_after_the_grace` |
//! | `namespace-selector` | `agent::selection::a_namespace_that_is_relabelled_out_keeps_its_copy_for_the_grace`, `agent::grammar::a_selector_means_what_it_means_to_the_server` |
//! | `on-conflict` | `agent::adoption::adopt_equal_takes_over_what_is_equal_and_nothing_else`, `agent::adoption::adopt_overwrites_follows_and_releases_what_it_took`, `agent::adoption::without_the_flag_adopt_takes_over_nothing`, `master::options::a_master_refuses_or_adopts_what_stands_in_its_way` |
//! | `on-delete` | `agent::retain::retained_copies_lose_our_marks_stay_and_are_taken_back`, `agent::retain::on_delete_is_one_of_two_words` |
//! | `copy-annotations` | `agent::annotations::copies_carry_the_annotations_that_are_named_and_no_others` |
//! | `image-pull-secret` | `agent::pull_secrets::entries_come_stay_and_go_and_nobody_elses_do`, `agent::pull_secrets::entries_follow_the_selection_and_rest_while_frozen` |
//! | all of them, from the management cluster | `master::carried::the_agent_does_what_the_source_in_the_management_cluster_asks_for` |
//! | an unknown key, or a value that cannot be read | `agent::frozen::a_frozen_source_keeps_its_copies_and_makes_none`, `agent::frozen::what_freezes_a_source_is_an_event_that_says_what_to_write`, `master::options::a_master_freezes_what_it_cannot_read_and_never_copies_some` |
//! | types and names that are never copied | `agent::frozen::some_types_and_names_are_never_copied` |
//! | labels, marks and the strip list | `agent::marks::a_copy_carries_labels_and_marks_and_nothing_else`, `agent::marks::labels_follow_the_source_and_those_of_others_survive`, `agent::spellings::labels_of_the_flag_are_stripped_too` |

// All of this is test code, helper functions included; clippy's exceptions for tests reach only `#[test]` functions.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod agent;
mod chaos;
mod check;
mod cluster_client;
mod cluster_discovery_rules;
mod commands;
mod conformance;
mod eks;
mod empty_root;
mod flags;
mod fleet;
mod hardening;
mod iam;
mod leaders;
mod manifests;
mod master;
mod monitoring;
mod one_tls_stack;
mod packaging;
mod page;
mod readme;
mod remote_cluster_rules;
mod rights;
mod support;
mod testbed_self;
mod upgrade;
