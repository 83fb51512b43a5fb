//! What each of several gets where there is not enough for all: weighted max-min fairness.

/// What one of them asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Claim {
    /// So much it could use.
    pub(super) demand: f64,
    /// How much it counts against others; above 0.
    pub(super) weight: f64,
}

/// What they get.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shares {
    /// Of each in the order of the claims: no more than it asked for.
    pub(super) grants: Vec<f64>,
    /// What one of weight 1 could get at the most, however much it asked for; infinite where there is enough for all.
    pub(super) level: f64,
}

/// Fills all up at the same pace, each by its weight, until it has what it asked for or nothing is left. So whoever asks for little gets it, the
/// others share the rest, and to ask for more takes nothing from who has less.
pub(super) fn share(capacity: f64, claims: &[Claim]) -> Shares {
    let asked: f64 = claims.iter().map(|claim| claim.demand).sum();
    if asked <= capacity {
        return Shares {
            grants: claims.iter().map(|claim| claim.demand).collect(),
            level: f64::INFINITY,
        };
    }
    let mut by_need: Vec<&Claim> = claims.iter().collect();
    by_need.sort_unstable_by(|a, b| (a.demand / a.weight).total_cmp(&(b.demand / b.weight)));
    let (mut left, mut weight) = (capacity, claims.iter().map(|claim| claim.weight).sum::<f64>());
    let mut level = 0.0;
    for claim in by_need {
        level = (left / weight).max(0.0);
        if claim.demand > level * claim.weight {
            break;
        }
        left -= claim.demand;
        weight -= claim.weight;
    }
    Shares {
        grants: claims
            .iter()
            .map(|claim| claim.demand.min(level * claim.weight))
            .collect(),
        level,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        let demand = prop_oneof![Just(0.0), 0.0..10.0f64, 0.0..1e9f64];
        let claim = (demand, 0.01..100.0f64).prop_map(|(demand, weight)| Claim { demand, weight });
        proptest::collection::vec(claim, 1..40)
    }

    proptest! {
        #[test]
        fn prop_all_is_given_that_is_there_and_asked_for(claims in claims(), capacity in 0.0..1e9f64) {
            let given: f64 = share(capacity, &claims).grants.iter().sum();
            let asked: f64 = claims.iter().map(|claim| claim.demand).sum();
            let due = capacity.min(asked);
            prop_assert!((given - due).abs() <= 1e-9 * due.max(1.0), "{given} of {due}");
        }

        #[test]
        fn prop_nobody_has_more_than_who_wants_more(claims in claims(), capacity in 0.0..1e9f64) {
            let Shares { grants, level } = share(capacity, &claims);
            for (own, claim) in grants.iter().zip(&claims) {
                prop_assert!(*own <= claim.demand);
                if *own >= claim.demand {
                    continue;
                }
                prop_assert!((own / claim.weight - level).abs() <= 1e-9 * level.max(1.0));
                for (other, others) in grants.iter().zip(&claims) {
                    prop_assert!(other / others.weight <= own / claim.weight * (1.0 + 1e-9));
                }
            }
        }

        #[test]
        fn prop_to_ask_for_more_gives_nobody_else_more(claims in claims(), capacity in 0.0..1e9f64, who in any::<prop::sample::Index>(), more in 0.0..1e9f64) {
            let who = who.index(claims.len());
            let mut greedy = claims.clone();
            greedy[who].demand += more;
            let (before, after) = (share(capacity, &claims).grants, share(capacity, &greedy).grants);
            prop_assert!(after[who] >= before[who] * (1.0 - 1e-9));
            for other in (0..claims.len()).filter(|other| *other != who) {
                prop_assert!(after[other] <= before[other] * (1.0 + 1e-9) + 1e-9);
            }
        }
    }

    #[test]
    fn who_asks_for_little_gets_it_and_weights_share_the_rest() {
        let claim = |demand, weight| Claim { demand, weight };
        let shares = share(
            100.0,
            &[claim(10.0, 1.0), claim(500.0, 1.0), claim(500.0, 2.0), claim(0.0, 9.0)],
        );
        assert_eq!(shares.grants, [10.0, 30.0, 60.0, 0.0]);
        assert_eq!(shares.level, 30.0);
        assert_eq!(share(100.0, &[claim(60.0, 1.0), claim(40.0, 1.0)]).grants, [60.0, 40.0]);
        assert_eq!(share(0.0, &[claim(60.0, 1.0)]).grants, [0.0]);
    }
}
