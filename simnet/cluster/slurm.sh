#!/bin/sh
# A sweep as an array of 64 tasks, on any cluster with Slurm and `simnet` on the path. Tried with Debian's
# slurm-wlm 22.05.8-4+deb12u3 on one machine of 2 CPUs, with 1 CPU a task; not on a cluster of several.
#   sbatch simnet/cluster/slurm.sh simnet/scenarios/cost.toml 1 "$HOME/cost"
# Another number of shards is said at the end too. With 1 CPU a task, where no node has 4 (there it would wait forever):
#   sbatch --array=0-3 --cpus-per-task=1 simnet/cluster/slurm.sh simnet/scenarios/cost.toml 1 "$HOME/cost" 4
# A task that was killed, or ran out of time, is submitted again as it is: it goes on where it stopped.
#   sbatch --array=3,17 simnet/cluster/slurm.sh simnet/scenarios/cost.toml 1 "$HOME/cost"
# When all are done, on one machine:
#   simnet merge "$HOME/cost" --out cost.jsonl && simnet report cost.jsonl --out report
#SBATCH --array=0-63
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --output=simnet-%A-%a.log
set -eu

scenario=${1:?the scenario}
seed=${2:?the master seed}
out=${3:?the directory for results, which every node can write to}
# Said in full, because part of the array has another count.
shards=${4:-64}

exec simnet sweep "$scenario" --seed "$seed" --out "$out" --resume \
    --shard "$SLURM_ARRAY_TASK_ID/$shards" --threads "${SLURM_CPUS_PER_TASK:-1}"
