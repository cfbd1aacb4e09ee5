#!/usr/bin/env bash
# Everything that only a GPU can show, with the files of a checkout alone: no data set, no download.
#
#   scripts/cuda_check.sh                        on a GPU: at most eight minutes on an H100; writes docs/performance.md's table
#   scripts/cuda_check.sh --device cpu --tiny    the same steps as far as a CPU can take them, in about a minute
#
# 1 tests marked `cuda`: parity cases, every method and precision, resume    2 two processes on one GPU (gloo), on two (NCCL)
# 3 `bench` of every method, beside published times. What fails is named, the other steps are run, the exit status is 1.
set -uo pipefail
cd "$(dirname "$0")/.."

device=cuda tiny=no
while [ $# -gt 0 ]; do
  case "$1" in
    --device) device="${2:?--device lacks its value}"; shift 2 ;;
    --tiny) tiny=yes; shift ;;
    *) echo "cuda_check: unknown option $1 (known: --device cuda|cpu, --tiny)" >&2; exit 2 ;;
  esac
done
python="${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}"
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
failed=()
patience=$([ "$device" = cuda ] && echo 1 || echo 10)  # nobody waits for a busy CPU's eight minutes
end=$((480 * patience)) stop_at=$((460 * patience))  # between them the table is written

step() { # NAME SECONDS COMMAND...: run it, within the limit and until `stop_at`; its output is shown where it fails
  local name="$1" limit=$(($2 * patience)) left=$((stop_at - SECONDS)) begin=$SECONDS status=0
  shift 2
  [ "$left" -gt "$limit" ] || limit=$left
  if [ "$limit" -le 0 ]; then
    echo "FAIL  $name: no time was left"
    failed+=("$name")
    return
  fi
  timeout -k 10 "$limit" "$@" >"$out/log" 2>&1 || status=$?
  if [ "$status" -eq 0 ]; then
    echo "ok    $name ($((SECONDS - begin)) s)"
  else
    case "$status" in 124 | 137) name="$name, cut off at its limit" ;; esac
    echo "FAIL  $name ($((SECONDS - begin)) s): $*"
    { grep "left out" "$out/log"; tail -n 40 "$out/log"; } | sed 's/^/      /'
    failed+=("$name")
  fi
}

adbench() { "$python" -m adbench "$@"; }
export python
export -f adbench

gpus=0
if [ "$device" = cuda ]; then
  gpus=$("$python" -c 'import torch; print(torch.cuda.device_count())')
  [ "${gpus:-0}" -gt 0 ] || { echo "cuda_check: PyTorch sees no GPU (--device cpu --tiny takes the steps on a CPU)" >&2; exit 2; }
fi

# 1. Tests. On a CPU two cases stand for all, which the test suite runs anyway.
if [ "$device" = cuda ]; then
  mapfile -t files < <(grep -rl --include='test_*.py' 'mark\.cuda' tests)
  step "tests marked cuda" 180 "$python" -m pytest -q --tb=short --timeout=90 -m cuda -p no:cacheprovider "${files[@]}"
else
  step "parity on $device" 60 "$python" -m adbench parity tests/fixtures/parity/winclip/few_shot_k2 --device "$device"
fi

# 2. Several processes: the rows of one; and two steps of a training in which they exchange features and gradients.
eval_words="eval method=clip_zeroshot clip=demo data=piped_mini data.classes=[PA_BDP01_TL] device=$device"
train_words="train method=inctrl clip=demo data=piped_mini support.k=2 trainer.epochs=1 trainer.steps_per_epoch=2 device=$device"
ranks() { # PROCESSES WORD...
  "$python" -m torch.distributed.run --standalone --nproc-per-node="$1" -m adbench "${@:2}"
}
same() { # RUN RUN: equal rows, to rounding
  "$python" - "$1" "$2" <<'PY'
import json, math, sys
first, second = (json.load(open(f"{run}/results.json"))["rows"] for run in sys.argv[1:])
assert len(first) == len(second), "another number of rows"
for a, b in zip(first, second):
    for key in a:
        if isinstance(a[key], float) and not key.endswith(("seconds", "per_second")) and math.isfinite(a[key]):
            assert abs(a[key] - b[key]) < 1e-5, (key, a[key], b[key])
PY
}
first_gpu="${CUDA_VISIBLE_DEVICES:-0}" first_gpu="${first_gpu%%,*}"
export -f ranks same
step "one process" 45 bash -c "adbench $eval_words out=$out/one"
share="export CUDA_VISIBLE_DEVICES=$first_gpu;"
step "two processes share a device" 45 bash -c "$share ranks 2 $eval_words out=$out/two && same $out/one $out/two"
step "two processes train on a device" 45 bash -c "$share ranks 2 $train_words out=$out/two_train"
if [ "$gpus" -ge 2 ]; then
  step "two GPUs (NCCL)" 45 bash -c "ranks 2 $eval_words out=$out/nccl && same $out/one $out/nccl"
  step "two GPUs train (NCCL)" 45 bash -c "ranks 2 $train_words out=$out/nccl_train"
fi

# 3. Speed. Groups share a backbone, which is drawn once for each, and the time that is left; methods vary first, so that
# a group that is cut short has measured each of them.
groups() { # a line of `bench` words for each backbone that methods have by default; scenes are larger than objects
  "$python" - <<'PY'
from adbench.bench.pictures import DATA
from adbench.cli.overrides import Overrides
from adbench.cli.plan import preview
from adbench.methods import method_class, names

by_backbone = {}
for name in names():
    supervision = method_class(name).supervision
    clip = preview(Overrides("eval", [f"method={name}", f"data={DATA[supervision][0]}"])).clip
    sizes = "batch_size=1,4 images=4" if supervision == "segmentation" else "batch_size=1,16 images=16"
    if clip.name != "demo":  # of floors, which see no features
        by_backbone.setdefault((str(clip), sizes), []).append(name)
for (_, sizes), members in by_backbone.items():
    print(f"{sizes} amp=off,bf16 method={','.join(members)}")
PY
}
if [ "$tiny" = yes ]; then
  step "bench" 60 "$python" -m adbench bench method=clip_zeroshot,anomalyclip clip=demo picture=96 repeats=1 threads=1 \
    device="$device" out="$out/bench_tiny"
else
  mapfile -t all_groups < <(groups)
  for number in "${!all_groups[@]}"; do
    words="${all_groups[$number]}"
    share=$(((stop_at - SECONDS) / patience / (${#all_groups[@]} - number)))
    step "bench ${words##* }" "$share" bash -c "adbench bench $words repeats=2 picture=512 device=$device out=$out/bench_$number"
  done
fi

shopt -s nullglob
measured=("$out"/bench_*/bench.json)
stop_at=$end
page=$([ "$device" = cuda ] && echo docs/performance.md || echo "$out/performance.md")
step "table of ${#measured[@]} files" 20 "$python" scripts/cuda_table.py "$page" "${measured[@]}"

[ ${#failed[@]} -eq 0 ] || { printf 'cuda_check: failed: %s\n' "$(IFS=';'; echo "${failed[*]}")" >&2; exit 1; }
echo "cuda_check: all steps passed on $device"
