//! The event queue: order, completeness, and memory for pending events only.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;
use simnet::engine::Queue;

/// Random steps: a push (its wait after the last event, and its node) or a pop. Waits are from 0 ms
/// to months.
fn steps() -> impl Strategy<Value = Vec<Option<(u64, u32)>>> {
    let wait = prop_oneof![
        3 => 0..3u64,
        3 => 0..1_000u64,
        3 => 300_000..900_000u64,
        1 => 0..10_000_000_000u64,
    ];
    let step = prop_oneof![
        3 => (wait, 0..4u32).prop_map(Some),
        2 => Just(None),
    ];
    prop::collection::vec(step, 0..1500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn events_come_in_order_of_time_node_and_sequence(steps in steps()) {
        let mut queue = Queue::default();
        let mut heap = BinaryHeap::new();
        let (mut now, mut sequence) = (0, 0u64);
        for step in steps.into_iter().chain(std::iter::repeat_n(None, 1600)) {
            match step {
                Some((wait, node)) => {
                    sequence += 1;
                    queue.push(now + wait, node, sequence);
                    heap.push(Reverse((now + wait, node, sequence)));
                }
                None => {
                    let expected = heap.pop().map(|Reverse(event)| event);
                    prop_assert_eq!(queue.pop(), expected);
                    now = expected.map_or(now, |(at, ..)| at);
                }
            }
            prop_assert_eq!(queue.len(), heap.len());
        }
        prop_assert!(queue.is_empty());
    }
}

#[test]
fn events_of_one_time_pop_in_the_order_of_their_pushes() {
    let mut queue = Queue::default();
    for event in 0..10_000u32 {
        queue.push(5, 7, event);
    }
    for event in 0..10_000 {
        assert_eq!(queue.pop(), Some((5, 7, event)));
    }
    assert_eq!(queue.pop(), None);
}

#[test]
fn queue_of_constant_size_keeps_its_memory() {
    let nodes = 20_000u32;
    let mut queue = Queue::with_capacity(nodes as usize);
    let wait = |i: u64| 300_000 + i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 600_000;
    for node in 0..nodes {
        queue.push(wait(node.into()), node, ());
    }
    for i in 0..200_000 {
        let (at, node, ()) = queue.pop().expect("as many as before");
        queue.push(at + wait(i), node, ());
    }
    assert_eq!(queue.len(), nodes as usize);
    let each = queue.bytes() as f64 / f64::from(nodes);
    assert!(each < 40.0, "{each} bytes an event");
}

#[test]
fn batches_announce_each_event_once_before_it_happens() {
    let mut queue = Queue::default();
    for event in 0..5_000u32 {
        queue.push(u64::from(event).wrapping_mul(7919) % 90_000, event, event);
    }
    let (mut announced, mut happened, mut late) = (Vec::new(), Vec::new(), 0);
    while let Some((at, node, event)) = queue.pop() {
        announced.extend(queue.upcoming_batch());
        if event == u32::MAX {
            late += 1;
            continue;
        }
        happened.push((node, event));
        assert_eq!(announced[..happened.len()], happened);
        if late < 1_000 {
            queue.push(at, node, u32::MAX);
        }
    }
    // An event that is pushed into the current day is not announced.
    assert_eq!((announced.len(), late), (5_000, 1_000));
}
