//! What others may ask an engine while it runs: one desk, several questions.

use tokio::sync::{mpsc, oneshot};

use crate::core::{Core, NamespaceNews, PLACES, Snapshot, Standings};

/// Questions that may wait: several ask now and then, and each is answered between two other things.
const WAITING: usize = 8;

/// Where to ask an engine.
#[derive(Clone, Debug)]
pub struct Inquiries(mpsc::Sender<Question>);

/// The engine's end of [`Inquiries`].
#[derive(Debug)]
pub struct Desk {
    questions: mpsc::Receiver<Question>,
    /// For whoever the engine itself lets ask.
    inquiries: Inquiries,
    /// Who is told of namespaces.
    followers: Vec<mpsc::UnboundedSender<NamespaceNews>>,
}

/// A question, with where the answer goes.
#[derive(Debug)]
pub(super) enum Question {
    Standings(usize, oneshot::Sender<Standings>),
    Snapshot(oneshot::Sender<Snapshot>),
    Namespaces(mpsc::UnboundedSender<NamespaceNews>),
}

impl Inquiries {
    /// Both ends.
    pub fn new() -> (Self, Desk) {
        let (sender, questions) = mpsc::channel(WAITING);
        let inquiries = Self(sender);
        (inquiries.clone(), Desk { questions, inquiries, followers: Vec::new() })
    }

    /// How all sources stand now, each with the first few places that are not as they should be; `None` when the engine
    /// has ended.
    pub async fn standings(&self) -> Option<Standings> {
        self.standings_with(PLACES).await
    }

    /// The same with so many places of each source at most.
    pub async fn standings_with(&self, places: usize) -> Option<Standings> {
        let (sender, answer) = oneshot::channel();
        self.0.send(Question::Standings(places, sender)).await.ok()?;
        answer.await.ok()
    }

    /// How everything stands now; `None` if the engine has ended, or is asked by too many.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (sender, answer) = oneshot::channel();
        self.0.try_send(Question::Snapshot(sender)).ok()?;
        answer.await.ok()
    }

    /// The cluster's namespaces: all of them once they are known, and from then on what becomes of them. `None` when
    /// the engine has ended. It is not held up by who does not listen.
    pub async fn namespaces(&self) -> Option<mpsc::UnboundedReceiver<NamespaceNews>> {
        let (sender, news) = mpsc::unbounded_channel();
        self.0.send(Question::Namespaces(sender)).await.ok()?;
        Some(news)
    }
}

impl Desk {
    /// Another way to this desk.
    pub(super) fn inquiries(&self) -> Inquiries {
        self.inquiries.clone()
    }

    /// The next question; never none, for the desk itself could ask.
    pub(super) async fn question(&mut self) -> Option<Question> {
        self.questions.recv().await
    }

    /// Answers it.
    pub(super) fn answer(&mut self, core: &Core, question: Question) {
        // Whoever has asked may not wait any more.
        match question {
            Question::Standings(places, asker) => drop(asker.send(core.standings(places))),
            Question::Snapshot(asker) => drop(asker.send(core.snapshot())),
            Question::Namespaces(asker) => {
                let all = core.namespaces();
                if all.is_none_or(|all| asker.send(all).is_ok()) {
                    self.followers.push(asker);
                }
            }
        }
    }

    /// Tells what has become of a namespace, or of all, to who has asked for it.
    pub(super) fn tell(&mut self, news: impl FnOnce() -> Option<NamespaceNews>) {
        if self.followers.is_empty() {
            return;
        }
        if let Some(news) = news() {
            self.followers.retain(|follower| follower.send(news.clone()).is_ok());
        }
    }
}
