//! Between a process and the servers: every request and every answer takes its time, and may not arrive.

use std::io;
use std::time::Duration;

use futures::TryStreamExt as _;
use http::Response;
use http_body_util::{BodyExt as _, Collected, StreamBody};
use kube::client::Body;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::accounts;
use super::api::{Answer, Id, Request, status};
use super::faults::{Boundary, Fate, Slot};
use super::judge::{Arrival, Judge};
use super::sabotage::{self, Sabotage};
use super::stage::{Scene, Stage, State};
use super::streams::Stream;
use crate::cluster::connection::Connection;
use crate::cluster::tests_support::{FakeBody, text_response};

/// What a caller gets: an answer, or a broken connection.
type Result = std::result::Result<Response<FakeBody>, kube::Error>;

/// The two clients of one cluster, for one process.
pub(super) fn connection(stage: &Stage, process: u64, cluster: usize) -> Connection {
    let client = || {
        let stage = stage.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let stage = stage.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
                Call { stage, process, cluster, request: Request::from_http(&head, body) }.carry().await
            }
        });
        kube::Client::new(service, "default")
    };
    Connection { watch: client(), write: client() }
}

/// A request on its way.
#[derive(Clone)]
struct Call {
    stage: Stage,
    process: u64,
    cluster: usize,
    request: Request,
}

/// Takes note that nobody waits for the answer any more.
struct Waiting {
    stage: Stage,
    process: u64,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.stage.lock();
        state.judge(self.process, |judge| judge.is_over(self.number));
    }
}

impl Call {
    async fn carry(mut self) -> Result {
        if let Some((code, body)) =
            self.alive(|call, state| sabotage::instead(state, call.cluster, &call.request)).await
        {
            return Ok(text_response(code, body.to_string()));
        }
        let (fate, ways, number) = self.alive(Self::sends).await;
        let _waiting = Waiting { stage: self.stage.clone(), process: self.process, number };
        let (tell, told) = oneshot::channel();
        let call = self.clone();
        // What is on its way arrives whether anybody waits for it or not.
        tokio::spawn(async move {
            let answer = call.deliver(fate, ways, number).await;
            drop(tell.send(answer));
        });
        let Ok(answer) = told.await else { std::future::pending().await };
        self.alive(move |call, state| call.answered(state, number, answer)).await
    }

    /// Does something in the name of the process; never, if that has been killed.
    async fn alive<T>(&mut self, act: impl FnOnce(&mut Self, &mut State) -> T) -> T {
        {
            let stage = self.stage.clone();
            stage.awake(self.process).await;
            let mut state = stage.lock();
            if state.lives(self.process) {
                return act(self, &mut state);
            }
        }
        std::future::pending().await
    }

    fn sends(&mut self, state: &mut State) -> (Fate, [Duration; 2], u64) {
        let Self { cluster, request, process, .. } = self;
        sabotage::request(request);
        let scene = state.scene;
        let (mut fate, ways) = state.faults.meet(&scene, *cluster, request);
        if let (Some(page), true) = (state.faults.page, request.query.contains_key("limit")) {
            request.query.insert("limit".to_owned(), page.to_string());
        }
        state.counts.requests += 1;
        let number = state.counts.requests;
        state.counts.watches += u64::from(request.is_collection());
        state.counts.leases += u64::from(request.is_of_lease());
        state.counts.writes += u64::from(is_counted(&scene, request));
        state.note(|| format!("#{number} of {process} {} in {cluster}: {fate:?}", describe(request)));
        let truth = request.id().and_then(|id| state.get(*cluster, &id).cloned());
        let judgement = state.judge(*process, |judge| judge.sends(*cluster, number, request, truth.as_ref()));
        state.judged(judgement.unwrap_or(Ok(())));
        if scene.standby {
            let judgement = state.tenure.sends(*process, number, request);
            state.judged(judgement);
        }
        if state.faults.kills(request, Boundary::Sent) {
            fate = Fate::Swallowed;
            state.crash(*process);
        }
        (fate, ways, number)
    }

    async fn deliver(&self, fate: Fate, [there, back]: [Duration; 2], number: u64) -> std::result::Result<Reply, ()> {
        sleep(there).await;
        match fate {
            Fate::Swallowed => std::future::pending().await,
            Fate::Lost => return Err(()),
            Fate::Late(more) => sleep(more).await,
            Fate::Fine | Fate::ReplyLost | Fate::Refused(_) | Fate::DoneBut(_) | Fate::Odd | Fate::DoneButOdd => {}
        }
        let reply = match fate {
            Fate::Refused(code) => self.refusal(code),
            Fate::Odd => odd(),
            _ => self.stage.change(|state| self.arrives(state, number)),
        };
        sleep(back).await;
        match fate {
            Fate::ReplyLost => Err(()),
            Fate::DoneBut(code) => Ok(self.refusal(code)),
            Fate::DoneButOdd => Ok(odd()),
            _ => Ok(reply),
        }
    }

    /// The server has it.
    fn arrives(&self, state: &mut State, number: u64) -> Reply {
        let Self { cluster, request, process, .. } = self;
        let id = request.id();
        let before = id.as_ref().and_then(|id| state.get(*cluster, id).cloned());
        let server = &mut state.servers[*cluster];
        if Slot::of(*cluster, request).is_some_and(|slot| state.faults.forgets.remove(&slot)) {
            server.store.compact();
        }
        let rv = server.store.rv;
        let answer = server.handle(Instant::now(), request);
        let changed = server.store.rv != rv;
        let after = id.as_ref().and_then(|id| server.store.get(id).cloned());
        if request.is_of_lease() {
            let after = after.as_deref().filter(|_| changed && request.is_write());
            let judgement = after.map_or(Ok(()), |lease| state.tenure.holds(number, lease));
            if let Some(lease) = after {
                state.note(|| format!("#{number} the Lease is held by {}", lease["spec"]["holderIdentity"]));
            }
            state.judged(judgement);
        } else if let (Some(id), true) = (&id, request.is_write()) {
            state.counts.changes += u64::from(changed && is_counted(&state.scene, request));
            let code = if let Answer::Whole(code, _) = &answer { *code } else { 0 };
            state.note(|| format!("#{number} {} {id:?} is done: {code}", request.method));
            let arrival = Arrival { request, id, before: before.as_ref(), after: after.as_ref(), code, changed };
            let judgement = Judge::arrived(&state.scene, state.judges.get(process), number, &arrival);
            state.judged(judgement);
            if let (accounts::PLURAL, Some(before), Some(after)) = (id.plural, &before, &after) {
                let judgement = state.ledger.wrote(id, before, after);
                state.judged(judgement);
            }
        }
        if state.lives(*process) && state.faults.kills(request, Boundary::Done) {
            state.crash(*process);
        }
        Reply::Server(answer)
    }

    fn answered(&mut self, state: &mut State, number: u64, answer: std::result::Result<Reply, ()>) -> Result {
        let Self { cluster, request, process, .. } = self;
        state.tenure.answered(number);
        let slot = Slot::of(*cluster, request);
        let result = match answer {
            Err(()) => {
                if let Some(believed) = sabotage::believed(state, *cluster, request) {
                    return Ok(text_response(200, believed.to_string()));
                }
                state.note(|| format!("#{number} has no answer"));
                Err(kube::Error::Service(io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer").into()))
            }
            Ok(Reply::Text(code, text)) => Ok(text_response(code, text)),
            Ok(Reply::Server(Answer::Whole(code, body))) => {
                state.note(|| format!("#{number} is answered {code}"));
                state.judge(*process, |judge| judge.answered(*cluster, number, request, code, &body));
                let mut response = text_response(code, body.to_string());
                if code == 429
                    && let Some(seconds) = body["details"]["retryAfterSeconds"].as_u64()
                {
                    response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
                }
                Ok(response)
            }
            Ok(Reply::Server(Answer::Watch(mut opened))) => {
                if sabotage::has(Sabotage::ExpiredIgnored)
                    && opened.initial.first().is_some_and(|(kind, _)| *kind == "ERROR")
                {
                    (opened.initial, opened.from) = (Vec::new(), state.servers[*cluster].store.rv);
                }
                let slot = slot.expect("watches have a slot");
                let stream = Stream::new(&self.stage, state, *process, slot, opened);
                let frames = futures::stream::unfold(stream, Stream::next);
                Ok(Response::new(StreamBody::new(frames.map_ok(hyper::body::Frame::data)).boxed_unsync()))
            }
        };
        if state.faults.kills(request, Boundary::Answered) {
            state.crash(*process);
        }
        result
    }

    /// What a server says that refuses the request with this code.
    fn refusal(&self, code: u16) -> Reply {
        let name = self.request.id().map_or_else(String::new, |id| id.name);
        let id = Id::new("secrets", "", &name);
        let (reason, message) = match code {
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1"),
            409 => return Reply::whole(status::conflict(&id)),
            410 => return Reply::whole(status::expired()),
            429 => ("TooManyRequests", "too many requests, please try again later"),
            500 => ("InternalError", "etcdserver: request timed out"),
            _ => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        };
        let seconds = self.stage.lock().scene.chance("Retry-After", code.into(), 4);
        let details = if code == 429 && seconds > 0 { json!({ "retryAfterSeconds": seconds }) } else { json!({}) };
        Reply::whole(status::failure(code, reason, message, &details))
    }
}

/// Whether it is a write that there must be none of in a world that is as it should be. Of two processes one may remember
/// entries of an earlier source namespace that the other has never heard of, and notes that when it comes to lead.
fn is_counted(scene: &Scene, request: &Request) -> bool {
    let id = request.id().filter(|_| request.is_write() && !request.is_of_lease());
    id.is_some_and(|id| !scene.standby || id.name != accounts::NOTE)
}

#[derive(Debug)]
enum Reply {
    Server(Answer),
    Text(u16, &'static str),
}

impl Reply {
    fn whole((code, body): status::Refusal) -> Self {
        Self::Server(Answer::Whole(code, body))
    }
}

fn describe(request: &Request) -> String {
    let Request { method, path, query, body, .. } = request;
    if request.target.as_ref().is_some_and(|target| target.plural == "events") {
        let event: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        return format!("#Event {}: {}", event["regarding"]["name"], event["note"]);
    }
    let shown = |key: &str| query.get(key).map(|value| format!(" {key}={value}"));
    let query: String =
        ["resourceVersion", "sendInitialEvents", "limit", "continue"].into_iter().filter_map(shown).collect();
    format!("{method} {path}{query} {}", String::from_utf8_lossy(body))
}

/// What no API server says.
fn odd() -> Reply {
    Reply::Text(403, "<html>Forbidden</html>")
}
