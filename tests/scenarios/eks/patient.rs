//! Scenarios that mostly wait: for a token to be old, for the time after which AWS may be asked again. Each would keep a
//! thread of the test runner from something else, so several wait together.

use anyhow::{Context as _, Result};
use futures::future::LocalBoxFuture;

use super::{discovery, namesakes, places, refusals, removal, safety, tokens};

/// Runs all of them at once, and says which one has failed.
async fn together<const N: usize>(all: [(&str, LocalBoxFuture<'_, Result<()>>); N]) -> Result<()> {
    let all = all.map(async |(name, scenario)| scenario.await.with_context(|| name.to_owned()));
    futures::future::try_join_all(all).await.map(drop)
}

#[tokio::test]
async fn tokens_end_clusters_answer_nonsense_and_nothing_is_lost() -> Result<()> {
    together([
        ("a day", Box::pin(tokens::a_day_of_tokens_and_sessions_under_continuous_writes())),
        ("an ended token", Box::pin(tokens::a_token_that_has_ended_costs_one_retry_and_is_no_failure())),
        ("refusals", Box::pin(safety::no_refusal_of_a_cluster_or_of_aws_takes_anything_away())),
        ("nonsense", Box::pin(safety::no_nonsense_takes_anything_away())),
    ])
    .await
}

#[tokio::test]
async fn clusters_are_found_and_lost() -> Result<()> {
    together([
        ("found", Box::pin(discovery::clusters_with_a_tag_are_served_and_selected_by_their_tags())),
        ("pages", Box::pin(discovery::all_pages_of_a_list_are_read_and_new_ones_wait_for_approval())),
        ("gone", Box::pin(removal::a_cluster_that_is_gone_in_aws_keeps_no_remote_cluster_waiting())),
        ("namesakes", Box::pin(namesakes::clusters_of_one_name_in_two_accounts_are_two_and_one_found_twice_is_one())),
        ("lost", Box::pin(discovery::what_is_not_listed_goes_after_a_day_and_never_by_a_list_that_fails())),
        (
            "by hand",
            Box::pin(discovery::a_hand_made_remote_cluster_wins_and_a_discovery_that_goes_takes_nothing_along()),
        ),
    ])
    .await
}

#[tokio::test]
async fn clusters_move_are_made_anew_and_hang() -> Result<()> {
    together([
        ("authority", Box::pin(places::a_rotated_authority_is_found_and_one_that_is_announced_is_trusted())),
        ("moved", Box::pin(places::a_cluster_that_moves_is_followed_and_left())),
        ("made anew", Box::pin(places::a_cluster_that_is_deleted_and_made_anew_is_another_one())),
        ("locked", Box::pin(places::a_cluster_that_lets_us_in_no_more_is_looked_up_at_once())),
        ("throttled", Box::pin(refusals::throttling_is_waited_out())),
        ("clocks", Box::pin(refusals::a_clock_that_is_off_is_corrected())),
        // It measures; the others have the machine for a part of the time only.
        ("dead", Box::pin(places::one_dead_cluster_delays_no_other())),
    ])
    .await
}
