//! Claims about the choice of the head that a cycle adopts.

use std::cmp::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;
use unanimity_protocol::decision::head_choice::{ChoiceStep, HeadChoice, LogHead};

/// A head that has numbers as size and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    size: u8,
    root: u8,
}

impl LogHead for Number {
    type Evidence = (Number, Number);

    fn largest_first(&self, other: &Number) -> Ordering {
        (other.size, self.root).cmp(&(self.size, other.root))
    }

    fn contradicts(&self, other: &Number) -> Option<(Number, Number)> {
        (self.size == other.size && self.root != other.root).then_some((*self, *other))
    }
}

/// The head of this size with root 0.
fn head(size: u8) -> Number {
    Number { size, root: 0 }
}

fn heads(sizes: &[u8]) -> Vec<Number> {
    sizes.iter().copied().map(head).collect()
}

/// The served heads, each with the smaller heads that its tiles link to it.
type Served<'a> = &'a [(u8, &'a [u8])];

/// The result of a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Chosen(Number),
    NoneServed,
    Fork((Number, Number)),
}

/// The heads of a choice, and what the hosts serve.
#[derive(Clone, Debug, Default)]
struct World {
    heads: Vec<Number>,
    trusted: Vec<Number>,
    peer_heads: Vec<Number>,
    /// The served heads, each with the smaller heads that it holds.
    served: Vec<(Number, Vec<Number>)>,
    /// The heads whose entries no host serves.
    unreadable: Vec<Number>,
    /// A served head, and a smaller head that it contradicts.
    fork: Option<(Number, Number)>,
}

impl World {
    fn new(sizes: &[u8], served: Served<'_>) -> World {
        let served = served.iter().map(|(size, holds)| (head(*size), heads(holds))).collect();
        World { heads: heads(sizes), served, ..World::default() }
    }

    fn with_trusted(self, sizes: &[u8]) -> World {
        World { trusted: heads(sizes), ..self }
    }

    fn with_peer_heads(self, sizes: &[u8]) -> World {
        World { peer_heads: heads(sizes), ..self }
    }

    fn unreadable(self, sizes: &[u8]) -> World {
        World { unreadable: heads(sizes), ..self }
    }

    fn serves(&self, head: Number) -> Option<&[Number]> {
        let served = self.served.iter().find(|(served, _)| *served == head);
        served.map(|(_, holds)| &holds[..])
    }

    /// The heads that are tried, in order, and the result.
    fn choose(&self) -> (Vec<Number>, End) {
        let mut heads = self.heads.clone();
        let mut choice = HeadChoice::new(&mut heads, &self.trusted, &self.peer_heads);
        let mut tried = Vec::new();
        loop {
            match choice.step() {
                ChoiceStep::Try(candidate) => {
                    let head = *candidate.head();
                    tried.push(head);
                    let smaller = candidate.smaller().to_vec();
                    assert!(smaller.iter().all(|smaller| smaller.size < head.size));
                    match (self.serves(head), self.fork) {
                        (None, _) => candidate.unserved(),
                        (Some(_), Some(pair)) if pair.0 == head => candidate.fork(pair),
                        (Some(holds), _) => {
                            let is_linked =
                                |other: &Number| holds.contains(other) && smaller.contains(other);
                            let _ = candidate.served(|other| *other == head || is_linked(other));
                        }
                    }
                }
                ChoiceStep::Chosen(chosen) => {
                    let chosen = *chosen;
                    if !self.unreadable.contains(&chosen) || !choice.unreadable() {
                        return (tried, End::Chosen(chosen));
                    }
                }
                ChoiceStep::NoneServed => return (tried, End::NoneServed),
                ChoiceStep::Fork(evidence) => {
                    let evidence = *evidence;
                    // A fork is final.
                    assert!(!choice.unreadable());
                    assert!(matches!(choice.step(), ChoiceStep::Fork(again) if *again == evidence));
                    return (tried, End::Fork(evidence));
                }
            }
        }
    }

    fn ends(&self) -> End {
        self.choose().1
    }

    fn tries(&self) -> Vec<u8> {
        self.choose().0.iter().map(|head| head.size).collect()
    }
}

/// The result that the head of this size is chosen.
fn chosen(size: u8) -> End {
    End::Chosen(head(size))
}

#[test]
fn largest_served_head_that_holds_all_is_chosen() {
    let world = World::new(&[3, 9, 5], &[(9, &[3, 5]), (5, &[3]), (3, &[])]);
    assert_eq!(world.choose(), (heads(&[9]), chosen(9)));
}

#[test]
fn trusted_heads_count_for_more_than_peer_heads() {
    let world = World::new(&[9, 7, 6, 5], &[(9, &[7, 6]), (6, &[5])]);
    assert_eq!(world.with_trusted(&[5]).with_peer_heads(&[9, 7, 6]).ends(), chosen(6));
}

#[test]
fn peer_heads_count_for_more_than_other_heads() {
    let world = World::new(&[9, 7, 6, 5], &[(9, &[7, 6]), (6, &[5])]);
    assert_eq!(world.clone().with_peer_heads(&[5]).ends(), chosen(6));
    assert_eq!(world.ends(), chosen(9));
}

#[test]
fn head_of_many_peers_counts_once_for_each() {
    let world = World::new(&[9, 7, 6, 5], &[(9, &[7, 6]), (6, &[5])]);
    assert_eq!(world.clone().with_peer_heads(&[7, 7, 5]).ends(), chosen(9));
    assert_eq!(world.with_peer_heads(&[7, 5, 5]).ends(), chosen(6));
}

#[test]
fn largest_of_heads_that_hold_equally_many_is_chosen() {
    let world = World::new(&[9, 7, 5], &[(7, &[5]), (9, &[5])]);
    assert_eq!(world.choose(), (heads(&[9, 7]), chosen(9)));
}

#[test]
fn unserved_head_is_never_chosen() {
    let world = World::new(&[9, 7, 5], &[(5, &[])]).with_trusted(&[9]).with_peer_heads(&[9, 7]);
    assert_eq!(world.choose(), (heads(&[9, 7, 5]), chosen(5)));
}

#[test]
fn no_head_is_tried_after_one_that_holds_all_smaller_heads() {
    let world = World::new(&[9, 7, 5, 3], &[(7, &[5, 3]), (5, &[3]), (3, &[])]);
    assert_eq!(
        world.with_trusted(&[9]).with_peer_heads(&[9]).choose(),
        (heads(&[9, 7]), chosen(7))
    );
}

#[test]
fn no_head_is_chosen_if_none_is_served() {
    assert_eq!(World::new(&[9, 7], &[]).choose(), (heads(&[9, 7]), End::NoneServed));
    assert_eq!(World::new(&[], &[]).choose(), (vec![], End::NoneServed));
}

#[test]
fn two_roots_of_one_size_end_the_choice_before_any_head_is_tried() {
    let mut world = World::new(&[9, 5, 3], &[(9, &[5, 3])]);
    world.heads.push(Number { size: 3, root: 1 });
    assert_eq!(world.choose(), (vec![], End::Fork((head(3), Number { size: 3, root: 1 }))));
}

#[test]
fn reported_fork_ends_the_choice_whatever_was_served_before() {
    let mut world = World::new(&[9, 7, 5], &[(9, &[7]), (7, &[])]).with_trusted(&[5]);
    world.fork = Some((head(7), head(5)));
    assert_eq!(world.choose(), (heads(&[9, 7]), End::Fork((head(7), head(5)))));
}

#[test]
fn unreadable_head_that_no_peer_cosigned_is_dropped() {
    let world = World::new(&[9, 7, 5], &[(9, &[7, 5]), (7, &[5])]).unreadable(&[9]);
    assert_eq!(world.ends(), chosen(7));
    assert_eq!(world.tries(), [9, 7]);
    assert_eq!(world.unreadable(&[9, 7]).ends(), End::NoneServed);
}

#[test]
fn unreadable_head_that_is_trusted_or_cosigned_stays_chosen() {
    let world = World::new(&[9, 7], &[(9, &[7]), (7, &[])]).unreadable(&[9]);
    assert_eq!(world.clone().with_trusted(&[9]).ends(), chosen(9));
    assert_eq!(world.with_peer_heads(&[9]).ends(), chosen(9));
}

#[test]
fn only_a_chosen_head_can_be_unreadable() {
    let (mut heads, none) = (heads(&[9, 7]), vec![]);
    let mut choice = HeadChoice::new(&mut heads, &none, &none);
    assert!(!choice.unreadable());
    let ChoiceStep::Try(candidate) = choice.step() else { panic!("a head to try") };
    assert!(candidate.served(|other| other.size == 9));
    assert!(!choice.unreadable(), "7 was not tried");
    assert_eq!(choice.heads().len(), 2);
}

#[test]
fn candidate_without_a_report_is_tried_again() {
    let (mut heads, none) = (heads(&[9, 7]), vec![]);
    let mut choice = HeadChoice::new(&mut heads, &none, &none);
    for _ in 0..2 {
        assert!(
            matches!(choice.step(), ChoiceStep::Try(candidate) if *candidate.head() == head(9))
        );
    }
}

/// Heads of one log, of which some are served and hold some of the smaller heads.
fn worlds() -> impl Strategy<Value = World> {
    let some = || vec(0..10_u8, 0..5);
    let served = vec((0..10_u8, vec(0..10_u8, 0..8)), 0..10);
    (vec(0..10_u8, 0..12), some(), some(), some(), served).prop_map(
        |(sizes, trusted, peer_heads, unreadable, served)| {
            let served = served.iter().map(|(size, holds)| {
                let smaller = holds.iter().copied().filter(|held| held < size).map(head);
                (head(*size), smaller.collect())
            });
            World {
                heads: heads(&sizes),
                trusted: heads(&trusted),
                peer_heads: heads(&peer_heads),
                served: served.collect(),
                unreadable: heads(&unreadable),
                fork: None,
            }
        },
    )
}

/// The rule written out naively: the best of all served heads that can be adopted.
fn by_the_rule(world: &World) -> End {
    let mut among = world.heads.clone();
    among.sort_by_key(|head| head.size);
    among.dedup();
    loop {
        let worth = |chosen: &Number| {
            let holds = world.serves(*chosen)?;
            let count = |heads: &[Number]| {
                let is_linked = |head: &Number| holds.contains(head) && among.contains(head);
                heads.iter().filter(|head| *head == chosen || is_linked(head)).count()
            };
            Some((count(&world.trusted), count(&world.peer_heads), count(&among), chosen.size))
        };
        let Some((_, best)) = among
            .iter()
            .filter_map(|head| Some((worth(head)?, *head)))
            .max_by_key(|(worth, _)| *worth)
        else {
            return End::NoneServed;
        };
        let is_kept = world.trusted.contains(&best) || world.peer_heads.contains(&best);
        if is_kept || !world.unreadable.contains(&best) {
            return End::Chosen(best);
        }
        among.retain(|head| *head != best);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn choice_is_the_best_of_all_served_heads(world in worlds()) {
        prop_assert_eq!(world.ends(), by_the_rule(&world));
    }

    #[test]
    fn order_of_the_given_heads_changes_nothing(
        (world, shuffled) in worlds().prop_flat_map(|world| {
            let shuffled = Just(world.heads.clone()).prop_shuffle();
            (Just(world), shuffled)
        })
    ) {
        let other = World { heads: shuffled, ..world.clone() };
        prop_assert_eq!(world.choose(), other.choose());
    }

    #[test]
    fn head_is_tried_at_most_once_more_than_heads_are_dropped(world in worlds()) {
        let (tried, _) = world.choose();
        for head in &tried {
            let times = tried.iter().filter(|other| *other == head).count();
            prop_assert!(times <= 1 + world.unreadable.len(), "{tried:?}");
        }
    }

    #[test]
    fn fork_ends_every_choice_that_tries_its_larger_head(
        (world, larger, smaller) in (worlds(), 1..10_u8, 0..9_u8)
    ) {
        let pair = (head(larger.max(smaller + 1)), head(smaller));
        let mut world = World { fork: Some(pair), ..world };
        world.heads.extend([pair.0, pair.1]);
        world.served.push((pair.0, vec![]));
        let (tried, end) = world.choose();
        prop_assert_eq!(end == End::Fork(pair), tried.contains(&pair.0));
    }
}
