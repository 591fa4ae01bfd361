//! One case: a tree, a Dockerfile, and what changes in rounds. All of it follows from a seed.

use std::fmt::Write;

use crate::dockerfile::Dockerfile;
use crate::mutate::Mutation;
use crate::tree::Tree;

#[derive(Debug, Clone)]
pub struct Case {
    pub seed: u64,
    pub base: Tree,
    pub context: Tree,
    pub dockerfile: Dockerfile,
    pub rounds: Vec<Round>,
}

/// What happens before a further build.
#[derive(Debug, Clone)]
pub enum Round {
    /// Changes, one after the other.
    Change(Vec<Mutation>),
    /// Everything is again as it was in an earlier round; 0 is the beginning.
    Back(usize),
}

/// The trees at one point of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub base: Tree,
    pub context: Tree,
}

impl Case {
    pub fn random(seed: u64, with_python: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let python = rng.u8(0..10) == 0;
        let (base, context) = (Tree::base(&mut rng), Tree::context(&mut rng));
        let dockerfile = Dockerfile::random(&mut rng, &base, python && with_python);
        let mut case = Self { seed, base, context, dockerfile, rounds: Vec::new() };
        let hot = case.dockerfile.named_paths();
        // Now and then more rounds than a step keeps path sets.
        let rounds = if rng.u8(0..100) == 0 { 20 } else { rng.usize(1..4) };
        let mut states = vec![case.start()];
        for _ in 0..rounds {
            let round = match rng.u8(0..6) {
                0 if states.len() > 1 => Round::Back(rng.usize(0..states.len() - 1)),
                _ => {
                    let mut now = states[states.len() - 1].clone();
                    let mutations = (0..*rng.choice(&[1, 1, 1, 2, 3]).unwrap_or(&1)).map(|_| {
                        let mutation = Mutation::random(&mut rng, &now.base, &now.context, &hot);
                        mutation.apply(&mut now.base, &mut now.context);
                        mutation
                    });
                    Round::Change(mutations.collect())
                }
            };
            case.rounds.push(round);
            states = case.states();
        }
        case
    }

    fn start(&self) -> State {
        State { base: self.base.clone(), context: self.context.clone() }
    }

    /// The trees at the beginning and after each round.
    pub fn states(&self) -> Vec<State> {
        let mut states = vec![self.start()];
        for round in &self.rounds {
            let mut now = states[states.len() - 1].clone();
            match round {
                Round::Change(mutations) => mutations.iter().for_each(|m| m.apply(&mut now.base, &mut now.context)),
                Round::Back(to) => now = states[(*to).min(states.len() - 1)].clone(),
            }
            states.push(now);
        }
        states
    }

    /// For people.
    pub fn describe(&self) -> String {
        let mut out = format!("seed {}\n\n{}", self.seed, self.dockerfile.text("case"));
        for (number, round) in self.rounds.iter().enumerate() {
            let _ = match round {
                Round::Change(mutations) => {
                    let lines: String = mutations.iter().map(|m| format!("\n  {m}")).collect();
                    writeln!(out, "\nround {}:{lines}", number + 1)
                }
                Round::Back(to) => writeln!(out, "\nround {}: back to round {to}", number + 1),
            };
        }
        out + &format!("\nbase.tar:\n{}\nsrc:\n{}", self.base.describe(), self.context.describe())
    }
}
