#!/bin/busybox sh
# The first process of the virtual machine of `cargo xtask vm-test`. Every check says `ok` or `FAILED`
# on the console; levels are read from gpio-sim's own files, outside of the program under test.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t debugfs none /sys/kernel/debug
mount -t tracefs none /sys/kernel/tracing
mkdir -p /tmp /systemd.new
. /checks.sh

load() {
    options=
    [ "$1" = vivid.ko ] && options="n_devs=1 node_types=0x1 num_inputs=1 input_types=0"
    [ "$1" = softdog.ko ] && options="soft_noboot=1 nowayout=0"
    insmod "/modules/$1" $options
}

make_chip() {
    mount -t configfs none /config
    mkdir -p /config/gpio-sim/board/bank
    echo 16 > /config/gpio-sim/board/bank/num_lines
    echo sortline-sim > /config/gpio-sim/board/bank/label
    echo 1 > /config/gpio-sim/board/live
    find_chip
    BASE=$(sed -n 's/.* GPIOs \([0-9]*\)-.*sortline-sim.*/\1/p' /sys/kernel/debug/gpio)
    pull $SPARE up      # active low
    pull $STOP up       # normally closed: up while the belt may run
}

start_run() {
    name=$1; shift
    edge-runtime run --board "${BOARD:-/board.toml}" --bundle /bundle.sortline "$@" > $LOG 2>&1 &
    RUN=$!
    set -- "$name"
    check "$1: run starts" within 240 says '^running'
    check "$1: an item fires its gate" within 120 is $GATE 1
}

# What it printed, and how it ended.
report_run() {
    check "$1: the program is gone" within 5 gone "$RUN"
    wait "$RUN"
    echo "   its status is $?"
    sed 's/^/   | /' $LOG
}

sorting() {
    start_run "sorting" --watchdog /dev/watchdog
    check "sorting: the belt runs" is $BELT 1
    check "sorting: the gate closes again" within 3 is $GATE 0
}

emergency_stop() {
    check "stop: an item is being fired at" within 120 is $GATE 1
    check "stop: the gate is off within 100 ms" \
        below 100 probe write "$(pull_of $STOP)" pull-down "$(value_of $GATE)" 0
    check "stop: the belt is off too" within 1 is $BELT 0
    check "stop: nothing is fired while it lasts" not within 20 is $GATE 1
    pull $STOP up
    check "stop: the belt runs again" within 1 is $BELT 1
    check "stop: items are fired at again" within 120 is $GATE 1
    check "stop: the gate closes again" within 3 is $GATE 0
}

jam() {
    pull $EYE up
    check "photo-eye: blocked for too long, an item is rejected" within 60 says 'rejected: jam'
    check "photo-eye: nothing is fired at" is $GATE 0
    pull $EYE down
    check "photo-eye: free again, items are fired at" within 120 is $GATE 1
    check "photo-eye: the gate closes again" within 3 is $GATE 0
}

camera_lost() {
    echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind
    check "camera: its loss is noticed" within 3 says 'camera.*lost'
    check "camera: its module can be unloaded" within 5 rmmod vivid
    check "camera: without it the belt is stopped" within 5 is $BELT 0
    check "camera: the program goes on" not gone "$RUN"
    check "camera: nothing is left on" is $GATE 0
    load vivid.ko
    check "camera: it is found again" within 15 says 'camera.*back'
    check "camera: the belt runs again" within 2 is $BELT 1
    check "camera: items are fired at again" within 120 is $GATE 1
}

# The picture's bar moves at 80 mm/s; what crosses the photo-eye is somewhere.
calibrating() {
    edge-runtime calibrate --board /board.toml --eye exit --passes 3 > $LOG 2>&1 &
    RUN=$!
    end=$(($(milliseconds) + 120000))
    until gone "$RUN" || [ "$(milliseconds)" -gt $end ]; do
        sleep 1
        probe glitch "$(pull_of $EYE)" 50000 > /dev/null
    done
    check "calibrate: it ends by itself" gone "$RUN"
    kill "$RUN" 2> /dev/null
    wait "$RUN"
    sed 's/^/   | /' $LOG
    speed=$(sed -n 's/^speed_mm_s = \([0-9]*\).*/\1/p' $LOG)
    check "calibrate: the speed is that of the picture, to 2 %" [ "$speed" -ge 79 -a "$speed" -le 81 ]
    check "calibrate: a photo-eye's position is found" says '^position_mm = '
}

# In the middle of a pulse.
terminated() {
    check "SIGTERM: the gate is off within 100 ms" \
        below 100 probe signal "$RUN" 15 "$(value_of $GATE)" 0
    check "SIGTERM: the belt is off too" within 1 is $BELT 0
    report_run "SIGTERM"
    check "SIGTERM: it sums up some hundred frames" grep -qE '^([2-9]|[1-9][0-9])[0-9][0-9] frames' $LOG
    check "SIGTERM: the watchdog was released" not watchdog_runs
}

watchdog_runs() { dmesg | grep -q 'watchdog did not stop'; }

killed() {
    start_run "SIGKILL" --watchdog /dev/watchdog
    check "SIGKILL: the gate is off within 100 ms" \
        below 100 probe signal "$RUN" 9 "$(value_of $GATE)" 0
    check "SIGKILL: the belt is off too" within 1 is $BELT 0
    check "SIGKILL: the guardian did it" within 1 says 'guardian: the program has died'
    report_run "SIGKILL"
    check "SIGKILL: the watchdog would restart the machine" watchdog_runs
}

# The gate is open, by hand, for two seconds or less.
start_exercise() {
    edge-runtime exercise --board "${2:-/board.toml}" --gate bar --on-ms "${3:-1900}" --yes > $LOG 2>&1 &
    RUN=$!
    check "$1: the gate opens" within 20 is $GATE 1
}

# A guardian that is frozen shows that nobody else lets go of the lines.
killed_with_guardian_held() {
    mkdir -p /cgroup
    mount -t cgroup2 none /cgroup
    mkdir /cgroup/held
    start_exercise "guardian held"
    pidof sortline-guard > /cgroup/held/cgroup.procs
    echo 1 > /cgroup/held/cgroup.freeze
    within 2 grep -q 'frozen 1' /cgroup/held/cgroup.events
    kill -KILL "$RUN"
    sleep 1
    check "guardian held: the gate stays on" is $GATE 1
    check "guardian let go: the gate is off within 100 ms" \
        below 100 probe write /cgroup/held/cgroup.freeze 0 "$(value_of $GATE)" 0
    report_run "guardian held"
}

killed_by_hand() {
    start_exercise "SIGKILL of exercise"
    check "SIGKILL of exercise: the gate is off within 100 ms" \
        below 100 probe signal "$RUN" 9 "$(value_of $GATE)" 0
    report_run "SIGKILL of exercise"
}

hanging() {
    sed 's/^max_on_ms = 2000/max_on_ms = 1000/' /board.toml > /short.toml
    start_exercise "too long" /short.toml 900
    check "too long: the gate is off soon after its longest time, one second" \
        below 1300 probe signal "$RUN" 19 "$(value_of $GATE)" 0
    check "too long: the guardian did it" within 1 says 'guardian: gate bar was on for'
    report_run "too long"

    sed 's/^max_on_ms = 2000/max_on_ms = 9000/' /board.toml > /patient.toml
    start_exercise "hanging" /patient.toml
    check "hanging: the gate is off after two seconds" \
        below 2300 probe signal "$RUN" 19 "$(value_of $GATE)" 0
    check "hanging: the guardian did it" within 1 says 'guardian: the program has hung'
    report_run "hanging"
}

guardian_lost() {
    start_exercise "guardian lost"
    kill -KILL "$(pidof sortline-guard)"
    check "guardian lost: the program ends" within 1 gone "$RUN"
    check "guardian lost: the gate is off" is $GATE 0
    check "guardian lost: it says so" says 'guardian has gone'
    report_run "guardian lost"
}

# On a busy host an interruption may become longer than it was to be; it is tried until one is short.
interrupted_shortly() {
    for try in $(seq 20); do
        took=$(probe glitch "$(pull_of $EYE)" 500)
        [ "$took" -lt 1500 ] && return
        long=$((long + 1))
        sleep 0.1
    done
    return 1
}
blocked() { grep -c 'exit: blocked' $LOG; }
blocked_after() { [ "$(blocked)" -gt "$1" ]; }

inputs() {
    sed "s/^decision_mm/motion = \"encoder\"\ndecision_mm/" /board.toml > /encoder.toml
    printf '[encoder]\nchip = "sortline-sim"\noffset = %s\nmm_per_pulse = 1\n' $ENCODER >> /encoder.toml
    edge-runtime inputs --board /encoder.toml --seconds 12 > $LOG 2>&1 &
    RUN=$!
    check "inputs: the stop lets the belt run" within 5 says 'lets the belt run'
    probe pulses "$(pull_of $ENCODER)" 100 20000
    long=0
    check "inputs: the photo-eye is interrupted for less than two milliseconds" interrupted_shortly
    sleep 1
    # The kernel takes two edges for one where its thread for them is held up, as on a busy host.
    pulses=$(sed -n 's/.*encoder: \([0-9]*\) pulses.*/\1/p' $LOG | tail -n 1)
    check "inputs: the encoder's 100 pulses are counted, 3 less at the most" \
        [ "$pulses" -ge 97 -a "$pulses" -le 100 ]
    before=$(blocked)
    check "inputs: less than two milliseconds of the photo-eye are no event" [ "$before" -le $long ]
    probe glitch "$(pull_of $EYE)" 20000 > /dev/null
    pull $STOP down
    check "inputs: 20 milliseconds of the photo-eye are" within 1 blocked_after "$before"
    check "inputs: the stop is pressed" within 1 says 'pressed'
    pull $STOP up
    check "inputs: it ends well" wait "$RUN"
    sed 's/^/   | /' $LOG
}

# How exactly outputs are switched, both processors being busy.
timing() {
    while :; do :; done &
    first=$!
    while :; do :; done &
    second=$!
    edge-runtime exercise --board /board.toml --gate spare --on-ms 20 --pause-ms 60 --times 400 --yes > $LOG 2>&1
    check "timing: 400 firings under load" [ $? = 0 ]
    # A busy host stops the whole machine for longer than a firing lasts; such a firing is left out.
    moved=$(sed -n 's/^gate movements: \([0-9]*\),.*/\1/p' $LOG)
    left_out=$(sed -n 's/^\([0-9]*\) firings were left out.*/\1/p' $LOG)
    check "timing: all were measured, or left out and counted" [ "$((moved + 2 * ${left_out:-0}))" = 800 ]
    check "timing: a few were left out at the most" [ "${left_out:-0}" -le 20 ]
    kill -9 "$first" "$second"
    sed 's/^/   | /' $LOG
}

# The kernel itself writes down what is set on which line, and when: nobody else sees every step.
TRACE=/sys/kernel/tracing
trace() {
    echo > $TRACE/trace
    echo 1 > $TRACE/events/gpio/gpio_value/enable
}
# traced LINE...: what changed since trace, as milliseconds, which of the lines (from 0), 0 or 1.
traced() {
    echo 0 > $TRACE/events/gpio/gpio_value/enable
    awk -v base="$BASE" -v lines="$*" '
        BEGIN { n = split(lines, line); for (i = 1; i <= n; i++) which[base + line[i]] = i - 1 }
        match($0, /[0-9.]+: gpio_value: /) {
            split(substr($0, RSTART), word)
            number = word[3]; value = word[5]
            if (word[4] != "set" || !(number in which) || level[number] + 0 == value) next
            level[number] = value
            printf "%.3f %d %d\n", word[1] * 1000, which[number], value
        }' $TRACE/trace > /tmp/seen
}

# What the motor's three lines did: steps towards open, towards closed, the shortest time from one to the next, the
# state of the enable line at the end.
steps() {
    awk '$2 == 1 { opens = $3 }
         $2 == 2 { enabled = $3 }
         $2 == 0 && $3 == 1 {
             if (opens) out++; else back++
             if (out + back > 1 && (shortest == "" || $1 - last < shortest)) shortest = $1 - last
             last = $1
         }
         END { print out + 0, back + 0, shortest, enabled + 0 }' /tmp/seen
}

stepping() {
    trace
    edge-runtime exercise --board /board.toml --gate flap --on-ms 1000 --yes > $LOG 2>&1
    check "stepper: it is exercised" [ $? = 0 ]
    traced $STEPS $DIRECTION $ENABLE
    set -- $(steps)
    echo "   $1 steps towards open, $2 back, $3 ms from one to the next at the least"
    check "stepper: 40 steps open it, and 40 close it" [ "$1 $2" = "40 40" ]
    check "stepper: no step is sooner than 10 ms after the one before" [ "${3%.*}" -ge 10 ]
    check "stepper: closed it is let go" [ "$4" = 0 ]

    edge-runtime exercise --board /board.toml --gate flap --on-ms 1000 --yes > $LOG 2>&1 &
    RUN=$!
    check "stepper: it moves" within 20 is $ENABLE 1
    check "stepper: SIGKILL on its way lets it go within 100 ms" \
        below 100 probe signal "$RUN" 9 "$(value_of $ENABLE)" 0
    check "stepper: no step is left half done" within 1 is $STEPS 0
    report_run "stepper"
}

# How long each coil of the paddle was on, in the order of their switching off, and whether both were once.
strokes() {
    awk '{ on[$2] = $3; if (on[0] && on[1]) both = "both"
           if ($3) since[$2] = $1; else if ($2 in since) printf "%s%d ", $2 ? "close" : "open", $1 - since[$2] }
         END { print both }' /tmp/seen
}
# Those strokes are one that opens, of 300 ms, and the next that closes; none is longer than a busy host makes it, and
# the last closes. The guardian closes once more when the program ends; and the first may be cut short.
opened_and_closed() {
    echo "$*" | awk '{
        for (n = 1; n <= NF; n++) {
            ms = $n
            sub(/[a-z]+/, "", ms)
            if (ms > 600) bad = 1
            if ($n ~ /^open/ && ms >= 300 && $(n + 1) ~ /^close/) opened++
        }
        exit !(opened == 1 && !bad && $NF ~ /^close/)
    }'
}

paddling() {
    trace
    edge-runtime exercise --board /board.toml --gate paddle --on-ms 1000 --yes > $LOG 2>&1
    check "paddle: it is exercised" [ $? = 0 ]
    traced $OPENS $CLOSES
    set -- $(strokes)
    echo "   in ms: $*"
    check "paddle: a stroke opens it, the next closes it, never both coils at once" opened_and_closed "$@"

    edge-runtime exercise --board /board.toml --gate paddle --on-ms 1900 --yes > $LOG 2>&1 &
    RUN=$!
    check "paddle: it opens" within 20 is $OPENS 1
    check "paddle: after SIGKILL the guardian closes it" \
        below 100 probe signal "$RUN" 9 "$(value_of $CLOSES)" 1
    check "paddle: that is a stroke, no more" within 1 is $CLOSES 0
    check "paddle: the other coil is off" is $OPENS 0
    report_run "paddle"
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
    check "doctor: reads the flags of the time stamps" says 'at the start of the exposure'
    sed 's/^/   | /' $LOG
    pull $STOP down
    mv /dev/video0 /dev/elsewhere
    check "doctor: misses the camera" not edge-runtime doctor --board /board.toml > /dev/null 2>&1
    mv /dev/elsewhere /dev/video0
    pull $STOP up
}

# The driver has more formats than the one that is taken; each must come.
formats() {
    for format in BGR3 YUYV NV12 GREY; do
        sed "s/^rate_hz/format = \"$format\"\nrate_hz/" /board.toml > /format.toml
        edge-runtime doctor --board /format.toml > $LOG 2>&1
        check "formats: $format comes" [ $? = 0 ]
        grep -E 'frames/s|sharpness' $LOG | sed 's/^/   | /'
    done
}

echo "$(uname -rm)"
while read -r module; do load "$module"; done < /modules/order
make_chip
check "the test camera is there" within 5 [ -c /dev/video0 ]
doctor
formats
calibrating
exercising
stepping
paddling
killed_by_hand
killed_with_guardian_held
hanging
guardian_lost
sorting
emergency_stop
jam
camera_lost
terminated
killed
inputs
timing
check "off: every output" edge-runtime off --board /board.toml
complaints

# The second part is systemd's machine. It keeps the devices as they are.
mount -t tmpfs -o mode=755 none /systemd.new
cp -a /systemd/. /systemd.new
cp /bin/busybox /bin/probe /systemd.new/bin
mkdir -p /systemd.new/usr/local/bin /systemd.new/proc /systemd.new/sys /systemd.new/dev
cp /bin/edge-runtime /systemd.new/usr/local/bin
for place in proc sys dev; do mount --move /$place /systemd.new/$place; done
umount /cgroup
exec switch_root /systemd.new /lib/systemd/systemd --unit=checks.service --show-status=no
