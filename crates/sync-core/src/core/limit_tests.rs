//! The limit against servers of several kinds, each busy all the time.

use std::collections::BTreeSet;

use super::*;

const MOST: usize = 64;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How a server takes requests.
#[derive(Clone, Copy)]
enum Server {
    /// So many at a time, each for so long; the others wait.
    Workers(usize, Duration),
    /// All of them, each for so long: a webhook, or the distance.
    Distant(Duration),
    /// The same, but it sends away what is too much at once.
    Strict(usize, Duration),
}

struct Run {
    limit: Limit,
    now: Moment,
    /// When each request will be answered, and when it was sent.
    under_way: BTreeSet<(Moment, Moment, u32)>,
    /// When each worker is free.
    free: Vec<Moment>,
    done: u32,
    refused: u32,
}

impl Run {
    fn new() -> Self {
        let limit = Limit::new(MOST);
        Self { limit, now: ms(0), under_way: BTreeSet::new(), free: vec![ms(0); 64], done: 0, refused: 0 }
    }

    /// Runs at full speed; how many requests per second succeeded.
    fn serve(&mut self, server: Server, time: Duration) -> f64 {
        let (until, before) = (self.now + time, self.done);
        let mut n = 0;
        while self.now < until {
            while self.under_way.len() < self.limit.get() {
                n += 1;
                let end = match server {
                    Server::Distant(time) | Server::Strict(_, time) => self.now + time,
                    Server::Workers(workers, time) => {
                        let next = self.free[..workers].iter_mut().min().unwrap();
                        *next = self.now.max(*next) + time;
                        *next
                    }
                };
                self.under_way.insert((end, self.now, n));
                self.limit.sent(self.under_way.len());
            }
            let in_flight = self.under_way.len();
            let (end, sent, _) = self.under_way.pop_first().unwrap();
            self.now = end;
            match server {
                Server::Strict(most, _) if in_flight > most => {
                    self.refused += 1;
                    self.limit.overloaded(self.now, sent, in_flight);
                }
                _ => {
                    self.done += 1;
                    self.limit.answered(self.now, sent);
                }
            }
        }
        f64::from(self.done - before) / time.as_secs_f64()
    }
}

#[test]
fn a_healthy_server_has_as_many_as_we_may() {
    for server in [Server::Workers(2, ms(2)), Server::Workers(1, ms(3)), Server::Distant(ms(200))] {
        let mut run = Run::new();
        // As it is when there is little to do: far below what full load makes of it.
        run.limit.best = ms(1);
        for _ in 0..20 {
            run.serve(server, ms(500));
            assert_eq!(run.limit.get(), MOST);
        }
    }
}

#[test]
fn a_server_whose_queue_is_long_has_fewer_and_loses_nothing() {
    let mut run = Run::new();
    run.limit.best = ms(20);
    let server = Server::Workers(2, ms(20));
    run.serve(server, ms(20_000));
    let throughput = run.serve(server, ms(20_000));
    assert!(throughput > 99.0, "{throughput} of 100 per second");
    let limit = run.limit.get();
    assert!((8..=32).contains(&limit), "near what it takes 250 ms for, which is 25: {limit}");
    // And again as many as we may when it is well.
    run.serve(Server::Workers(4, ms(2)), ms(2_000));
    assert_eq!(run.limit.get(), MOST);
}

#[test]
fn what_is_slow_whatever_we_do_is_not_slowed_down_further() {
    let mut run = Run::new();
    run.limit.best = ms(5);
    let throughput = run.serve(Server::Distant(ms(2_000)), ms(60_000));
    assert!(throughput > 0.9 * 32.0, "{throughput} of 32 per second");
}

#[test]
fn a_server_that_sends_away_has_what_it_takes_and_recovers() {
    let mut run = Run::new();
    let strict = Server::Strict(8, ms(20));
    run.serve(strict, ms(2_000));
    let refused = run.refused;
    let throughput = run.serve(strict, ms(10_000));
    let refused = f64::from(run.refused - refused) / 10.0;
    assert!(run.limit.get() <= 9, "{}", run.limit.get());
    assert!(throughput > 0.5 * 400.0 && refused < 0.1 * throughput, "{throughput} and {refused} of 400 per second");
    run.serve(Server::Strict(100, ms(20)), ms(2_000));
    assert_eq!(run.limit.get(), MOST);
}

#[test]
fn requests_that_fail_together_are_one_trouble() {
    let mut limit = Limit::new(MOST);
    (1..=40).for_each(|n| limit.sent(n));
    (1..=40).rev().for_each(|n| limit.overloaded(ms(10), ms(0), n));
    assert_eq!(limit.get(), 20, "half of what was under way");
    limit.overloaded(ms(30), ms(20), 20);
    assert_eq!(limit.get(), 10);
    for n in 0..10 {
        limit.overloaded(ms(50 + n), ms(40 + n), 1);
    }
    assert_eq!(limit.get(), 1, "and never none");
}

#[test]
fn one_that_was_cut_down_to_one_grows_however_slow_the_server_is() {
    let mut run = Run::new();
    run.limit.best = ms(5);
    (0..10).for_each(|n| run.limit.overloaded(ms(n + 1), ms(n + 1), 1));
    assert_eq!(run.limit.get(), 1);
    run.serve(Server::Distant(ms(1_000)), ms(120_000));
    assert_eq!(run.limit.get(), MOST);
}
