# shellcheck shell=sh
# What the scripts share: each sources this file first, which takes it to the top of the clone, and then says with
# `prepare` what it needs in the virtual environment .venv there.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}

fail() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

# debian_packages NAME...: install them with apt-get, as root or with sudo. Fails where that is not possible.
debian_packages() {
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" = 0 ]; then as_root=; elif command -v sudo >/dev/null; then as_root=sudo; else return 1; fi
    echo "Installing the Debian packages: $*"
    $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq --no-install-recommends "$@" >/dev/null
}

# Debian keeps what makes a virtual environment in a package of its own.
require_python() {
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        fail "Python 3.11 or newer is needed, and there is no $python. On Debian, as root: apt-get install python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or newer is needed, and $python is $version. If there is another: PYTHON=python3.12 $0"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || debian_packages "python$version-venv" ||
        fail "$python cannot make virtual environments. On Debian, as root: apt-get install python$version-venv"
}

# Not after the folder was moved or copied, or the system's Python went away.
environment_works() {
    case $(.venv/bin/pip --version 2>/dev/null) in
    *" from $(pwd -P)/.venv/"*) ;;
    *) return 1 ;;
    esac
}

# prepare NAME ARGUMENT...: have .venv with what pip installs for these arguments. Quick where that was done before and
# neither they nor pyproject.toml have changed.
prepare() {
    done=.venv/prepared-$1
    shift
    wanted=$(printf '%s\n' "$*" && cat pyproject.toml)
    if ! environment_works; then
        require_python
        echo "Making the virtual environment .venv"
        "$python" -m venv --clear .venv
    fi
    [ "$(cat "$done" 2>/dev/null)" != "$wanted" ] || return 0
    echo "Installing into .venv: $*"
    # The first pip that knows dependency groups; Debian 12 comes with 23.0.
    .venv/bin/python -m pip install --quiet 'pip>=25.1'
    .venv/bin/python -m pip install --quiet "$@"
    printf '%s\n' "$wanted" >"$done"
}
