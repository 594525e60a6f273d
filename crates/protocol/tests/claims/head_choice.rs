//! The choice of the head that a cycle adopts.

use std::cmp::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;
use unanimity_protocol::decision::head_choice::{ChoiceStep, HeadChoice, LogHead};

/// A head as two numbers.
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

/// A head of the one log of a world.
fn head(size: u8) -> Number {
    Number { size, root: 0 }
}

fn heads(sizes: &[u8]) -> Vec<Number> {
    sizes.iter().copied().map(head).collect()
}

/// What hosts serve: for each served head, the smaller heads that its tiles are tied to.
type Served<'a> = &'a [(u8, &'a [u8])];

/// How a choice ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Chosen(Number),
    NoneServed,
    Fork((Number, Number)),
}

/// A world in which heads are chosen.
#[derive(Clone, Debug, Default)]
struct World {
    heads: Vec<Number>,
    trusted: Vec<Number>,
    views: Vec<Number>,
    /// Each served head, and the smaller heads that it holds.
    served: Vec<(Number, Vec<Number>)>,
    /// Heads whose entries nobody can read.
    unreadable: Vec<Number>,
    /// A served head, and a smaller one that it contradicts.
    fork: Option<(Number, Number)>,
}

impl World {
    fn new(sizes: &[u8], served: Served<'_>) -> World {
        let served = served.iter().map(|(size, holds)| (head(*size), heads(holds))).collect();
        World { heads: heads(sizes), served, ..World::default() }
    }

    fn trusting(self, sizes: &[u8]) -> World {
        World { trusted: heads(sizes), ..self }
    }

    fn seeing(self, sizes: &[u8]) -> World {
        World { views: heads(sizes), ..self }
    }

    fn unreadable(self, sizes: &[u8]) -> World {
        World { unreadable: heads(sizes), ..self }
    }

    fn serves(&self, head: Number) -> Option<&[Number]> {
        let served = self.served.iter().find(|(served, _)| *served == head);
        served.map(|(_, holds)| &holds[..])
    }

    /// The heads that are tried, in order, and how it ends.
    fn choose(&self) -> (Vec<Number>, End) {
        let mut heads = self.heads.clone();
        let mut choice = HeadChoice::new(&mut heads, &self.trusted, &self.views);
        let mut tried = Vec::new();
        loop {
            match choice.step() {
                ChoiceStep::Try(trial) => {
                    let head = *trial.head();
                    tried.push(head);
                    let smaller = trial.smaller().to_vec();
                    assert!(smaller.iter().all(|smaller| smaller.size < head.size));
                    match (self.serves(head), self.fork) {
                        (None, _) => trial.unserved(),
                        (Some(_), Some(pair)) if pair.0 == head => trial.fork(pair),
                        (Some(holds), _) => {
                            let ties =
                                |other: &Number| holds.contains(other) && smaller.contains(other);
                            let _ = trial.served(|other| *other == head || ties(other));
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
                    // For good.
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

/// The head of this size is chosen.
fn chosen(size: u8) -> End {
    End::Chosen(head(size))
}

#[test]
fn the_largest_served_head_that_holds_all_is_chosen() {
    let world = World::new(&[3, 9, 5], &[(9, &[3, 5]), (5, &[3]), (3, &[])]);
    assert_eq!(world.choose(), (heads(&[9]), chosen(9)));
}

#[test]
fn trusted_heads_count_for_more_than_views() {
    let world = World::new(&[9, 7, 6, 5], &[(9, &[7, 6]), (6, &[5])]);
    assert_eq!(world.trusting(&[5]).seeing(&[9, 7, 6]).ends(), chosen(6));
}

#[test]
fn views_count_for_more_than_other_heads() {
    let world = World::new(&[9, 7, 6, 5], &[(9, &[7, 6]), (6, &[5])]);
    assert_eq!(world.clone().seeing(&[5]).ends(), chosen(6));
    assert_eq!(world.ends(), chosen(9));
}

#[test]
fn a_head_that_many_peers_show_counts_once_for_each() {
    let world = World::new(&[9, 7, 6, 5], &[(9, &[7, 6]), (6, &[5])]);
    assert_eq!(world.clone().seeing(&[7, 7, 5]).ends(), chosen(9));
    assert_eq!(world.seeing(&[7, 5, 5]).ends(), chosen(6));
}

#[test]
fn of_heads_that_hold_equally_many_the_largest_is_chosen() {
    let world = World::new(&[9, 7, 5], &[(7, &[5]), (9, &[5])]);
    assert_eq!(world.choose(), (heads(&[9, 7]), chosen(9)));
}

#[test]
fn an_unserved_head_is_never_chosen() {
    let world = World::new(&[9, 7, 5], &[(5, &[])]).trusting(&[9]).seeing(&[9, 7]);
    assert_eq!(world.choose(), (heads(&[9, 7, 5]), chosen(5)));
}

#[test]
fn no_head_is_tried_after_one_that_holds_all_smaller_heads() {
    let world = World::new(&[9, 7, 5, 3], &[(7, &[5, 3]), (5, &[3]), (3, &[])]);
    assert_eq!(world.trusting(&[9]).seeing(&[9]).choose(), (heads(&[9, 7]), chosen(7)));
}

#[test]
fn without_a_served_head_none_is_chosen() {
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
fn a_reported_fork_ends_the_choice_whatever_was_served_before() {
    let mut world = World::new(&[9, 7, 5], &[(9, &[7]), (7, &[])]).trusting(&[5]);
    world.fork = Some((head(7), head(5)));
    assert_eq!(world.choose(), (heads(&[9, 7]), End::Fork((head(7), head(5)))));
}

#[test]
fn an_unreadable_head_that_no_peer_vouches_for_is_left_out() {
    let world = World::new(&[9, 7, 5], &[(9, &[7, 5]), (7, &[5])]).unreadable(&[9]);
    assert_eq!(world.ends(), chosen(7));
    assert_eq!(world.tries(), [9, 7]);
    assert_eq!(world.unreadable(&[9, 7]).ends(), End::NoneServed);
}

#[test]
fn an_unreadable_head_that_is_trusted_or_vouched_for_stays_chosen() {
    let world = World::new(&[9, 7], &[(9, &[7]), (7, &[])]).unreadable(&[9]);
    assert_eq!(world.clone().trusting(&[9]).ends(), chosen(9));
    assert_eq!(world.seeing(&[9]).ends(), chosen(9));
}

#[test]
fn only_a_chosen_head_can_be_unreadable() {
    let (mut heads, nobody) = (heads(&[9, 7]), vec![]);
    let mut choice = HeadChoice::new(&mut heads, &nobody, &nobody);
    assert!(!choice.unreadable());
    let ChoiceStep::Try(trial) = choice.step() else { panic!("a head to try") };
    assert!(trial.served(|other| other.size == 9));
    assert!(!choice.unreadable(), "7 was not tried");
    assert_eq!(choice.heads().len(), 2);
}

#[test]
fn a_trial_without_a_report_is_given_again() {
    let (mut heads, nobody) = (heads(&[9, 7]), vec![]);
    let mut choice = HeadChoice::new(&mut heads, &nobody, &nobody);
    for _ in 0..2 {
        assert!(matches!(choice.step(), ChoiceStep::Try(trial) if *trial.head() == head(9)));
    }
}

/// Up to nine heads of one log, of which some are served and hold some of the smaller ones.
fn worlds() -> impl Strategy<Value = World> {
    let some = || vec(0..10_u8, 0..5);
    let served = vec((0..10_u8, vec(0..10_u8, 0..8)), 0..10);
    (vec(0..10_u8, 0..12), some(), some(), some(), served).prop_map(
        |(sizes, trusted, views, unreadable, served)| {
            let served = served.iter().map(|(size, holds)| {
                let smaller = holds.iter().copied().filter(|held| held < size).map(head);
                (head(*size), smaller.collect())
            });
            World {
                heads: heads(&sizes),
                trusted: heads(&trusted),
                views: heads(&views),
                served: served.collect(),
                unreadable: heads(&unreadable),
                fork: None,
            }
        },
    )
}

/// The choice in as many words as the rule has: the best of all served heads that can be adopted.
fn by_the_rule(world: &World) -> End {
    let mut among = world.heads.clone();
    among.sort_by_key(|head| head.size);
    among.dedup();
    loop {
        let worth = |chosen: &Number| {
            let holds = world.serves(*chosen)?;
            let count = |heads: &[Number]| {
                let ties = |head: &Number| holds.contains(head) && among.contains(head);
                heads.iter().filter(|head| *head == chosen || ties(head)).count()
            };
            Some((count(&world.trusted), count(&world.views), count(&among), chosen.size))
        };
        let Some((_, best)) = among
            .iter()
            .filter_map(|head| Some((worth(head)?, *head)))
            .max_by_key(|(worth, _)| *worth)
        else {
            return End::NoneServed;
        };
        let vouched = world.trusted.contains(&best) || world.views.contains(&best);
        if vouched || !world.unreadable.contains(&best) {
            return End::Chosen(best);
        }
        among.retain(|head| *head != best);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_choice_is_the_best_of_all_served_heads(world in worlds()) {
        prop_assert_eq!(world.ends(), by_the_rule(&world));
    }

    #[test]
    fn the_order_in_which_heads_are_given_changes_nothing(
        (world, shuffled) in worlds().prop_flat_map(|world| {
            let shuffled = Just(world.heads.clone()).prop_shuffle();
            (Just(world), shuffled)
        })
    ) {
        let other = World { heads: shuffled, ..world.clone() };
        prop_assert_eq!(world.choose(), other.choose());
    }

    #[test]
    fn no_head_is_tried_more_often_than_heads_are_left_out(world in worlds()) {
        let (tried, _) = world.choose();
        for head in &tried {
            let times = tried.iter().filter(|other| *other == head).count();
            prop_assert!(times <= 1 + world.unreadable.len(), "{tried:?}");
        }
    }

    #[test]
    fn a_fork_anywhere_ends_every_choice_that_comes_to_it(
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
