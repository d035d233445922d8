//! Handles whose only owner is gone before their message is.

use multiproc_tests::leaks::apart;
use serde::{Deserialize, Serialize, Serializer};

/// Becomes a handle that nobody else has, while it is encoded.
#[derive(Deserialize)]
#[serde(transparent)]
struct Fresh(mp::Value<u64>);

impl Serialize for Fresh {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        mp::Value::new(7_u64)
            .expect("making a value")
            .serialize(serializer)
    }
}

#[mp::test]
fn a_handle_that_is_dropped_after_its_encoding_arrives() {
    apart(|| {
        let start = mp::arena_stats().expect("the arena is there");
        let queue = mp::Queue::new().expect("making a queue");
        let mine = mp::Value::new(1).expect("making a value");
        queue.put(Fresh(mine)).expect("putting");
        let Fresh(arrived) = queue.get().expect("getting");
        assert_eq!(arrived.get().expect("the lock is free"), 7);
        drop((arrived, queue));
        assert_eq!(mp::arena_stats().expect("the arena is there"), start);
    });
}
