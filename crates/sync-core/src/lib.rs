//! The engine of secret-replicator-eks: this page is the map for whoever carries it on.
//!
//! Both controllers are this crate with a `main` around it. The agent runs one [`engine`], whose destinations are the
//! namespaces of its cluster; the master runs one per remote cluster, with one destination each, all over one
//! [`source_feed`].
//!
//! # The pipeline
//!
//! ```text
//!   source namespace                                one cluster, one engine
//!
//!   cluster::watch                                  cluster::watch (replicas, namespaces)
//!        | Feed<Source>                                  | Feed<Sighting>, Feed<NamespaceSeen>
//!        v                                               v
//!   index::sources --- SourceNews: Want of each --> core ---> index::pairs --> queue --> plan
//!        ^      |                                     ^                                   | Action
//!        |      v                                     |                                   v
//!        |  announce --> Event on the source     Reply or Fault <-- cluster::write <--- Order
//!        |                                                               |
//!        +-- confirmed by cluster::read                                  v
//!                                                                  the API server
//! ```
//!
//! It is level-triggered: an input only says where to look, and what to do is decided from all that is known there.
//!
//! # Who decides what
//!
//! | question | where |
//! |---|---|
//! | What does a source ask for? Is it frozen, or never replicated? | [`contract::source`] |
//! | What does an option mean, and what is said of a value that means nothing? | [`contract::options`] |
//! | Which names and labels does a selection select? | [`contract::patterns`], [`contract::selector`] |
//! | What does a replica look like? Which labels does it carry? | [`contract::desired`], [`contract::strip`] |
//! | Whose is an object? How does a replica end, deleted or released? | [`contract::marks`] |
//! | Are two replicas equal? | [`contract::fingerprint`] |
//! | What is in a request's body, and what guards it? | [`contract::body`] |
//! | Is an update a PUT or a JSON Patch, and why is either safe? | [`contract::body::replace`], [`core`] (`decide.rs`) |
//! | Is a source gone, and since when? Grace, confirming reads, incarnations of its namespace | [`index::sources`] |
//! | What stands at a destination? Replies against events, by uid and version | [`index::pairs`] |
//! | What is to be done about one source at one destination? | [`plan`]: every situation is a row of its table test |
//! | What of all that is known does that depend on, and which request follows? | [`core`] (`decide.rs`) |
//! | Is a destination selected, and how long does a replica stay that is not? | [`core`] (`decide.rs`, `settle.rs`) |
//! | Which pair comes next? | [`queue`] |
//! | What is in the way, and when is it gone? Watches on one name each | [`core`] (`names.rs`) |
//! | Who keeps undoing what we write? | [`core`] (`rivals.rs`) |
//! | How often may a source change? | [`index::pace`] |
//! | How many at once? | [`core`] (`limit.rs`) |
//! | Does the server hang, or only what is written to a namespace? Who stands aside then? | [`cluster::pulse`], [`queue`] (`silence.rs`) |
//! | When is a pair tried again, when does a whole cluster pause? | [`core`] (`done.rs`) |
//! | Who else must know of namespaces, or how an engine stands? Nobody watches or counts a second time | [`engine`] (`desk.rs`) |
//! | Which ServiceAccounts list a Secret, and what is ours there? Which news wait for that? | [`service_accounts`] |
//! | What would be written? (`plan`) | [`trial`], [`core`] (`verdicts.rs`) |
//! | What does `--dry-run` try, who must not write then, and when is it tried again? | [`lease::Lead::Dry`], [`core`] (`dry.rs`) |
//! | What do people ask on a command line, and which rights does who need? | [`ops`] (`preflight.rs`, `report.rs`, `rights.rs`, `purge/`) |
//! | What follows from a failed request? | [`fault`] (the kinds), [`cluster::answer`] (which answer is which) |
//! | Which of several processes may write? | [`lease`] |
//! | What is said to people? | [`reason`], [`fault`] (words), [`core`] (`tally.rs`: counts), [`announce`] (Events) |
//! | How does every source stand at this moment? What does an agent tell the master of it? | [`core`] (`standing.rs`), [`summary`] |
//! | How is a cluster reached, and what is refused? | [`cluster::access`], [`cluster::kubeconfig`], [`cluster::addresses`] |
//! | Where does a watch go on after a failure? | [`cluster::watch`], [`cluster::pace`] |
//! | Flags, logs, signals | [`ops`] |
//!
//! # The pure group
//!
//! [`contract`], [`plan`], [`index`], [`queue`], [`announce`], the [`core`] that joins them, [`service_accounts`] and [`lease`]
//! import neither `kube` nor `tokio`: no input or output, no clock, no task. Time is a parameter ([`index::feed::Moment`]), chance comes from
//! one seeded generator ([`rng`]), and nothing depends on the order of a hash map. So the same inputs in the same order
//! give the same orders, and a test needs no server: it calls [`core::Core::on`] and [`core::Core::next`].
//! Everything else drives them: [`engine`], [`source_feed`] and [`entries`] each own one state machine, feed it and do
//! what it says.
//!
//! # How an input travels
//!
//! Somebody deletes a replica by hand:
//!
//! 1. [`cluster::watch`] reads the line, [`cluster::wire`] reduces the object to a [`contract::marks::Sighting`] (two
//!    digests, uid, version, marks; the bytes are dropped), and [`watches::Told`] brings it to the engine's channel.
//! 2. [`engine::run`] hands it to [`core::Core::on`]. `core/feeds.rs` finds the pair, and
//!    [`index::pairs::PairState::gone`] notes that nothing of ours stands there, unless what it knows is newer.
//! 3. The pair is planned: [`plan::plan`] says `Create`. So it is queued, in lane [`queue::Lane::Drift`].
//! 4. [`core::Core::next`] takes it when a slot is free and plans it again, for the world may have moved; the
//!    [`order::Order`] has a body that was serialised once for all destinations.
//! 5. [`cluster::write`] sends one request and reduces the answer to an [`order::Reply`] or a [`fault::Fault`].
//! 6. `core/done.rs` takes the reply's uid and version for known, so that the event of our own write changes nothing; a
//!    failure backs off the pair, or the cluster if it was the cluster's.
//! 7. When nothing of the source is due any more, [`core::Settled`] goes to the log, to the status of a RemoteCluster,
//!    and to [`announce`] for an Event.
//!
//! # The simulation
//!
//! `simulation/`, in tests only: the real engine and source feed, watches and writes included, against API servers in
//! memory, under paused time. One seed decides everything; a judge holds each request against the promises, by what the
//! process has been told, and an oracle the world in the end, from the users' objects alone. A failing seed prints the
//! shortest schedule that fails so. In some seeds there are two processes and a Lease.
//!
//! ```text
//! SIM_SEED=1234    cargo test -p sync-core simulation    # that one, shortened if it fails
//! SIM_SEEDS=100000 cargo test -p sync-core simulation    # many; or some of them: 5000..6000
//! ```
//!
//! `mutants.rs` has engines that are wrong on purpose, each of which it must find: who adds a guard adds one without it.
//! What its servers answer is held against a real one by `tests/conformance`.
//!
//! # To add an option of a source
//!
//! In this order, each step with its tests:
//!
//! 1. [`contract::keys`]: the key, and into `OPTIONS`, or sources that carry it are frozen. `OPTIONS_OF_MASTER` if no
//!    agent reads it: a master's replica carries all others. A mark that may stand on a source, because a master's
//!    replica is one, goes into `MARKS_ON_SOURCE` instead.
//! 2. [`contract::options`]: a field of `Options` with a default, and its parser; what cannot be parsed is a `BadOption`
//!    with a text that says what to write, and [`contract::source`] makes a `Freeze` of it. Rows for each value and for
//!    nonsense; the property tests there must still hold.
//! 3. [`contract::desired`], if a replica shall look different: it must be in the fingerprint too, or a change is not
//!    seen. The test that a replica reads back as what was wanted is in [`contract::marks`]. What must hold when the
//!    source is gone is remembered on the replica ([`contract::marks::End`]).
//! 4. [`plan`]: if it decides about a destination, it is in `Desired::options` already or belongs into `View`
//!    (`core/decide.rs` fills it), and into rows of `plan_tests.rs`. A new action needs a body in [`contract::body`] and
//!    a step in [`order`]. A new reason goes into [`reason::Reason`], with what to do about it, and into README.md (a
//!    test asks for it).
//! 5. [`core`] (`feeds.rs`): which pairs may become wrong when it changes? A pair that is not touched is not looked at.
//!    What happens over time is a line of `option_tests.rs`.
//! 6. The simulation: its values in `simulation/wishes.rs`, where users give them to sources, and there what they mean,
//!    written down a second time and without a look at the code of steps 1 to 5.
//! 7. A scenario in `tests/scenarios`, on a real API server, that names the key and cites the promise it is about; and
//!    the contract in README.md, with an example (a test reads it).
//!
//! A flag is added in [`ops::flags`] (both controllers) or in the `args.rs` of one, in README.md, and with a bad value in
//! `tests/scenarios/flags.rs` (tests ask for both). What it decides about a replica is in [`contract::rules`].
//!
//! # Limits and timeouts
//!
//! Each stands where it acts, as a constant that says where its number comes from:
//!
//! | what | where |
//! |---|---|
//! | connect, TLS handshake, keep-alive, HTTP/2 windows | `cluster/connection.rs` |
//! | deadline and size of each kind of answer | [`cluster::request::Limits`] |
//! | deadline of a write | [`cluster::write::DEADLINE`] |
//! | for the answer whether a server lives | `cluster/pulse.rs` |
//! | longest line of a watch | [`cluster::lines::LINE_LIMIT`] |
//! | length of a watch, silence that ends one | `cluster/watch.rs` |
//! | pauses between attempts to watch, size of a list's pages | `cluster/pace.rs` |
//! | longest Retry-After that is honoured | `cluster/answer.rs` |
//! | back-off of a pair and of a cluster | `core/mod.rs` |
//! | names that are watched for what is in the way | `core/names.rs` |
//! | restorations before a replica is contested, pauses after it | `core/rivals.rs` |
//! | the same for entries of ServiceAccounts; requests at once; how long news wait | `service_accounts/{mod,gate}.rs` |
//! | changes of a source that pass at once, time between others | [`index::pace`] |
//! | latency that is no reason to send fewer at once | `core/limit.rs` |
//! | shares of the lanes, slots of one destination, of one source, of retries and of new namespaces | [`queue`] |
//! | pauses, and tries at once, where writes are not answered | `queue/silence.rs`, `queue/aside.rs` |
//! | events that watches may be ahead, time to end in | `engine.rs`, `source_feed.rs` |
//! | grace, and how often an absence is confirmed again | [`contract::rules`], [`ops::flags`], `index/sources.rs` |
//! | time between two Events, their length | `announce.rs` |
//! | length of a server's message | [`fault::message`] |

pub mod announce;
pub mod cluster;
pub mod contract;
pub mod core;
pub mod engine;
pub mod entries;
pub mod fault;
pub mod index;
pub mod leadership;
pub mod lease;
mod mutants;
pub mod ops;
pub mod order;
pub mod plan;
pub mod queue;
pub mod reason;
pub mod rng;
pub mod service_accounts;
#[cfg(test)]
mod simulation;
pub mod source_feed;
pub mod summary;
pub mod trial;
pub mod watches;

#[cfg(test)]
#[path = "purity_tests.rs"]
mod purity_tests;
