# What systemd makes of boards/systemd/sortline.service, unchanged: run by checks.service, in the machine that init.sh
# has handed over.
export PATH=/bin:/usr/bin:/sbin:/usr/sbin
/bin/busybox --install -s /bin 2> /dev/null
LOG=/run/log
. /checks.sh
find_chip
# Without udev nobody else gives the devices to their groups.
chgrp video /dev/video0 && chmod 660 /dev/video0
chgrp gpio /dev/gpiochip* && chmod 660 /dev/gpiochip*

log() { journalctl --unit=sortline --output=cat --no-pager > $LOG 2>&1; }
property() { systemctl show --property="$1" --value sortline; }
state_is() { [ "$(property ActiveState)" = "$1" ]; }
logged() { log; says "$1"; }
stopped() { grep -q 'State:.T' "/proc/$1/status"; }
restarted() { [ "$(property NRestarts)" -ge "$1" ] && state_is active; }
fires() {
    check "$1: an item fires its gate" within 120 is $GATE 1
}

starting() {
    systemctl start sortline > $LOG 2>&1
    check "systemd: the service says that it is ready" [ $? = 0 ]
    check "systemd: it runs" state_is active
    check "systemd: it is told how the service does" [ "$(property StatusText)" = sorting ]
    check "systemd: the program is not root's" [ "$(stat -c %U "/proc/$(property MainPID)")" = sortline ]
    grep -E '^(Max realtime priority|Max locked memory)' "/proc/$(property MainPID)/limits" | sed 's/^/   | /'
    check "systemd: the belt runs" is $BELT 1
    fires systemd
    log
    check "systemd: it may have real-time priority and lock its memory" not says '^note:'
    sed 's/^/   | /' $LOG
}

killed() {
    check "systemd, SIGKILL: the gate is off within 100 ms" \
        below 100 probe signal "$(property MainPID)" 9 "$(value_of $GATE)" 0
    check "systemd, SIGKILL: the belt is off too" within 1 is $BELT 0
    check "systemd, SIGKILL: it is started again" within 60 restarted 1
    fires "systemd, SIGKILL"
}

# Longer than WatchdogSec; that nothing is wrong is known by the number of restarts.
watched() {
    sleep 12
    check "systemd: for 12 s the watchdog is content" restarted 1
    check "systemd: no more than one restart" [ "$(property NRestarts)" = 1 ]
}

# The guardian would be sooner: it is stopped as well. The kernel lets it go on when the program is dead.
hanging() {
    pid=$(property MainPID)
    kill -STOP "$(pidof sortline-guard)" "$pid"
    check "systemd, hanging: program and guardian are stopped" within 2 stopped "$pid"
    check "systemd, hanging: the watchdog's time runs out" within 15 logged 'Watchdog timeout'
    check "systemd, hanging: the program is killed" within 5 gone "$pid"
    check "systemd, hanging: its guardian makes the outputs safe" within 1 is $BELT 0
    check "systemd, hanging: the gate is off" is $GATE 0
    check "systemd, hanging: it is started again" within 60 restarted 2
    fires "systemd, hanging"
}

stopping() {
    systemctl stop sortline > $LOG 2>&1
    check "systemd, stop: the service has ended" state_is inactive
    check "systemd, stop: in good order" [ "$(property Result)" = success ]
    check "systemd, stop: every output is off" is $GATE 0
    check "systemd, stop: the belt's too" is $BELT 0
    check "systemd, stop: the journal of the line was written" [ -s "$(ls /var/lib/sortline/journal/* | head -n 1)" ]
    check "systemd, stop: what it ran afterwards went well" not logged 'Control process exited'
    sed 's/^/   | /' $LOG
}

systemctl --version | head -n 1
starting
killed
watched
hanging
stopping
complaints
echo "the end"
busybox poweroff -f
