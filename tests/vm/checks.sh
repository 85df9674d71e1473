# What both parts of the machine's checks share: init.sh, and systemd.sh. Levels are read from gpio-sim's own
# files, outside of the program under test.
LOG=/tmp/log
GATE=0      # lines of the chip, as in boards/profiles/qemu-virt.toml
SPARE=1
BELT=2
STOP=4
EYE=5
ENCODER=6   # of the board that inputs makes
STEPS=8     # of the stepper motor: steps, direction, enable
DIRECTION=9
ENABLE=10
OPENS=11    # the paddle's coils
CLOSES=12

# check NAME COMMAND...: the command must succeed.
check() {
    name=$1; shift
    if "$@"; then echo "ok $name"; else echo "FAILED $name"; sed 's/^/   ! /' $LOG; fi
}
# within SECONDS COMMAND...: the command must succeed before the time is over.
within() {
    end=$(($(milliseconds) + $1 * 1000)); shift
    until "$@"; do
        [ "$(milliseconds)" -lt $end ] || return 1
        sleep 0.1
    done
}
not() { ! "$@"; }
milliseconds() { read -r up rest < /proc/uptime; echo "${up%.*}${up#*.}0"; }
level() { cat "$CHIP/sim_gpio$1/value"; }
is() { [ "$(level "$1")" = "$2" ]; }
pull() { echo "pull-$2" > "$CHIP/sim_gpio$1/pull"; }
says() { grep -q "$1" $LOG; }
value_of() { echo "$CHIP/sim_gpio$1/value"; }
pull_of() { echo "$CHIP/sim_gpio$1/pull"; }
# below LIMIT COMMAND...: the command prints a number of milliseconds, and it must be so small.
below() {
    limit=$1; shift
    took=$("$@") || return 1
    echo "   after $took ms"
    [ "${took%.*}" -lt "$limit" ]
}
gone() { ! kill -0 "$1" 2> /dev/null; }

find_chip() {
    CHIP=$(dirname /sys/devices/platform/gpio-sim.*/gpiochip*/sim_gpio0)
}
complaints() { dmesg | grep -iE 'oops|bug:|segfault|traps:' && echo "FAILED the kernel complains"; }
