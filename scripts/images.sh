# Shared by build-images and push-images: the options, and how each command is run.  Sourced, never executed.
# shellcheck shell=bash

STAGES=(deps model app runtime)

image=${IMAGE:-augury}
tag=
base=python:3.11-slim
digest=
models=src/augury/bundled
extras="tweets redis"
cache=
platforms=
dry_run=false
only=()

options() {
  cat <<'TEXT'
Options:
  --image NAME        registry and name, as registry.example/team/augury (default: augury)
  --tag TAG           tag of the runtime image (default: the commit, as git describes it)
  --base IMAGE        the Python to build on (default: python:3.11-slim)
  --base-digest SHA   its digest, sha256:...; default: what the registry says now
  --models FOLDER     the model repository to put in, inside the context (default: src/augury/bundled)
  --extras "A B"      extras of Augury to install (default: "tweets redis")
  --cache REF         registry reference for the layers' cache (default: NAME-cache, none
                      where NAME has no registry; none: no such cache). Writing one needs a builder
                      of the docker-container driver: docker buildx create --use
  --platforms LIST    as linux/amd64,linux/arm64 (default: this machine's)
  --stage STAGE       only this one of: deps model app runtime; may be given again
  --dry-run           print the commands and run none
  --help              this
TEXT
}

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

read_options() {
  while (($#)); do
    case $1 in
      --help)
        usage
        exit 0
        ;;
      --dry-run)
        dry_run=true
        shift
        continue
        ;;
      --image | --tag | --base | --base-digest | --models | --extras | --cache | --platforms | --stage) ;;
      *) fail "unknown option $1; see --help" ;;
    esac
    [[ $# -ge 2 && -n $2 ]] || fail "$1 needs a value"
    case $1 in
      --image) image=$2 ;;
      --tag) tag=$2 ;;
      --base) base=$2 ;;
      --base-digest) digest=$2 ;;
      --models) models=${2%/} ;;
      --extras) extras=$2 ;;
      --cache) cache=$2 ;;
      --platforms) platforms=$2 ;;
      --stage) only+=("$2") ;;
    esac
    shift 2
  done
  local stage
  for stage in "${only[@]}"; do
    [[ " ${STAGES[*]} " == *" $stage "* ]] || fail "no stage $stage; there are: ${STAGES[*]}"
  done
  ((${#only[@]})) || only=("${STAGES[@]}")
  [[ -z $digest || $digest =~ ^sha256:[0-9a-f]{64}$ ]] || fail "--base-digest $digest is not sha256: and 64 hex digits"
  [[ -d $models ]] || fail "no folder $models (--models)"
  # A name without a registry would ask Docker Hub for somebody else's cache.
  if [[ -z $cache ]]; then
    if [[ $image == */* ]]; then cache=$image-cache; else cache=none; fi
  fi
  if [[ -z $tag ]]; then
    tag=$(git describe --always --dirty --tags 2>/dev/null || echo dev)
  fi
}

run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  $dry_run || "$@"
}

need_buildx() {
  $dry_run || docker buildx version >/dev/null 2>&1 || fail "docker buildx is needed, and not here"
}

# The base's digest: as given, else as its registry says now.
resolve_base() {
  [[ -n $digest ]] && return
  if $dry_run; then
    digest="sha256:<of $base>"
    printf '+ docker buildx imagetools inspect %q --format {{.Manifest.Digest}}\n' "$base"
  else
    digest=$(docker buildx imagetools inspect "$base" --format '{{.Manifest.Digest}}') ||
      fail "no digest of $base from its registry; give one with --base-digest"
  fi
}

# build_stage STAGE [more options]: one stage with the caches of all of them, tagged NAME:TAG or NAME:TAG-STAGE.
build_stage() {
  local stage=$1 name
  shift
  name=$(name_of "$stage")
  local command=(
    docker buildx build --target "$stage" --tag "$name"
    --build-arg "BASE=$base" --build-arg "BASE_DIGEST=$digest"
    --build-arg "MODELS=$models" --build-arg "EXTRAS=$extras"
    --build-arg "VERSION=$tag" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || true)"
  )
  [[ -z $platforms ]] || command+=(--platform "$platforms")
  if [[ $cache != none ]]; then
    local other
    for other in "${STAGES[@]}"; do
      command+=(--cache-from "type=registry,ref=$cache:$other")
    done
  fi
  run "${command[@]}" "$@" .
}

name_of() {
  if [[ $1 == runtime ]]; then printf '%s:%s' "$image" "$tag"; else printf '%s:%s-%s' "$image" "$tag" "$1"; fi
}
