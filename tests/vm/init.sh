#!/bin/busybox sh
# The first process of the virtual machine of `cargo xtask vm-test`. Every check says `ok` or `FAILED`
# on the console; levels are read from gpio-sim's own files, outside of the program under test.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /tmp
LOG=/tmp/log
GATE=0      # lines of the chip, as in boards/profiles/qemu-virt.toml
SPARE=1
STOP=4

# check NAME COMMAND...: the command must succeed.
check() {
    name=$1; shift
    if "$@"; then echo "ok $name"; else echo "FAILED $name"; fi
}
# within SECONDS COMMAND...: the command must succeed before the time is over.
within() {
    end=$(($(milliseconds) + $1 * 1000)); shift
    until "$@"; do
        [ "$(milliseconds)" -lt $end ] || return 1
        sleep 0.02
    done
}
not() { ! "$@"; }
milliseconds() { read -r up rest < /proc/uptime; echo "${up%.*}${up#*.}0"; }
level() { cat "$CHIP/sim_gpio$1/value"; }
is() { [ "$(level "$1")" = "$2" ]; }
pull() { echo "pull-$2" > "$CHIP/sim_gpio$1/pull"; }
says() { grep -q "$1" $LOG; }
gone() { ! kill -0 "$1" 2> /dev/null; }

load() {
    options=
    [ "$1" = vivid.ko ] && options="n_devs=1 node_types=0x1 num_inputs=1 input_types=0"
    insmod "/modules/$1" $options
}

make_chip() {
    mount -t configfs none /config
    mkdir -p /config/gpio-sim/board/bank
    echo 8 > /config/gpio-sim/board/bank/num_lines
    echo sortline-sim > /config/gpio-sim/board/bank/label
    echo 1 > /config/gpio-sim/board/live
    device=$(cat /config/gpio-sim/board/dev_name)
    CHIP=/sys/devices/platform/$device/$(cat /config/gpio-sim/board/bank/chip_name)
    pull $SPARE up      # active low
    pull $STOP up       # normally closed: up while the belt may run
}

start_run() {
    edge-runtime run --board /board.toml --bundle /bundle.sortline > $LOG 2>&1 &
    RUN=$!
    check "$1: run starts" within 60 says '^running'
    check "$1: an item fires its gate" within 120 is $GATE 1
}

# How long after the signal the gate is off and the program gone.
end_run() {
    before=$(milliseconds)
    kill "-$2" "$RUN"
    check "$1: the gate is off $3" within 2 is $GATE 0
    echo "   $(($(milliseconds) - before)) ms after SIG$2, to 10 ms and the shell's own delay"
    check "$1: the program is gone" within 5 gone "$RUN"
    wait "$RUN"
    echo "   its status is $?"
    sed 's/^/   | /' $LOG
}

sorting() {
    start_run "sorting"
    check "sorting: the gate closes again" within 3 is $GATE 0
}

emergency_stop() {
    check "stop: an item is being fired at" within 120 is $GATE 1
    before=$(milliseconds)
    pull $STOP down
    check "stop: the gate is off at once" within 1 is $GATE 0
    echo "   $(($(milliseconds) - before)) ms after the stop"
    check "stop: nothing is fired while it lasts" not within 20 is $GATE 1
    pull $STOP up
    check "stop: items are fired at again" within 120 is $GATE 1
    check "stop: the gate closes again" within 3 is $GATE 0
}

camera_lost() {
    echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind
    check "camera: its loss is noticed" within 3 says 'camera.*lost'
    check "camera: its module can be unloaded" within 5 rmmod vivid
    check "camera: the program goes on" not gone "$RUN"
    sleep 3
    check "camera: nothing is left on" is $GATE 0
    load vivid.ko
    check "camera: it is found again" within 15 says 'camera.*back'
    check "camera: items are fired at again" within 120 is $GATE 1
}

exercising() {
    edge-runtime exercise --board /board.toml --gate spare --on-ms 1500 --yes > $LOG 2>&1 &
    RUN=$!
    check "exercise: the gate opens (active low)" within 20 is $SPARE 0
    check "exercise: only that gate" is $GATE 0
    check "exercise: the gate closes" within 4 is $SPARE 1
    check "exercise: it ends well" wait "$RUN"
    sed 's/^/   | /' $LOG
}

doctor() {
    edge-runtime doctor --board /board.toml > $LOG 2>&1
    check "doctor: finds nothing wrong" [ $? = 0 ]
    sed 's/^/   | /' $LOG
    pull $STOP down
    mv /dev/video0 /dev/elsewhere
    check "doctor: misses the camera" not edge-runtime doctor --board /board.toml > /dev/null 2>&1
    mv /dev/elsewhere /dev/video0
    pull $STOP up
}

echo "$(uname -rm)"
while read -r module; do load "$module"; done < /modules/order
make_chip
check "the test camera is there" within 5 [ -c /dev/video0 ]
doctor
exercising
sorting
emergency_stop
camera_lost
end_run "SIGTERM in a pulse" TERM "by the program"
check "SIGTERM: it sums up some hundred frames" grep -qE '^([2-9]|[1-9][0-9])[0-9][0-9] frames' $LOG
start_run "SIGKILL"
end_run "SIGKILL in a pulse" KILL "by the pull-down: the kernel has let go of the line"
dmesg | grep -iE 'oops|bug:|segfault|traps:' && echo "FAILED the kernel complains"
echo "the end"
poweroff -f
