//! Workers that are threads of this process.

use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Bell, End, Engine, Member};
use crate::error::{Error, Result};
use crate::pool::body::PoolHandle;
use crate::pool::serve::serve;
use crate::sys::BorrowedFd;

pub(in crate::pool) struct Threads;

struct Worker {
    has_ended: Arc<AtomicBool>,
}

impl Engine for Threads {
    fn start(
        &self,
        pool: &PoolHandle,
        seat: u16,
        name: &str,
        bell: &Arc<Bell>,
    ) -> Result<Box<dyn Member>> {
        let has_ended = Arc::new(AtomicBool::new(false));
        let (pool, own_name) = (pool.clone(), name.to_owned());
        let (bell, ended) = (Arc::clone(bell), Arc::clone(&has_ended));
        let run = move || {
            serve(&pool, seat, &own_name, &|| bell.ring());
            // Whoever sees the end finds no trace of the thread in the arena.
            drop(pool);
            ended.store(true, Ordering::Release);
            bell.ring();
        };
        // A thread that ends lets its handles go first: it is not joined, since it may be abandoned.
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|error| Error::os("cannot start a thread for a pool", error))?;
        Ok(Box::new(Worker { has_ended }))
    }
}

impl Member for Worker {
    fn id(&self) -> u32 {
        std::process::id()
    }

    fn sentinel(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn end(&self) -> Option<End> {
        self.has_ended.load(Ordering::Acquire).then(|| End {
            status: ExitStatus::default(),
            stderr: String::new(),
        })
    }

    fn kill(&self) -> bool {
        false
    }
}
