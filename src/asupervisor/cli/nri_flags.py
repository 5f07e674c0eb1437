"""The flags of the Node Resource Interface, whose settings are :class:`NriConfig`."""

from __future__ import annotations

from asupervisor.cli.flag import Flag, boolean, names, words
from asupervisor.config import NRI_REJECTIONS
from asupervisor.durations import parse_duration

NRI_FLAGS = (
    Flag(
        "nri-disable",
        "nri.disable",
        "no plugins of the Node Resource Interface",
        boolean,
        switch=True,
    ),
    Flag("nri-socket-path", "nri.socket_path", "socket to which NRI plugins connect"),
    Flag(
        "nri-disable-connections",
        "nri.disable_connections",
        "no NRI plugin connects by itself",
        boolean,
        switch=True,
    ),
    Flag(
        "nri-plugin-path",
        "nri.plugin_path",
        "directory of NRI plugins that are started with the service",
    ),
    Flag(
        "nri-plugin-config-path",
        "nri.plugin_config_path",
        "directory of their configuration, 10-name.conf or name.conf",
    ),
    Flag(
        "nri-plugin-registration-timeout",
        "nri.registration_timeout_s",
        "within which an NRI plugin registers, a duration",
        parse_duration,
    ),
    Flag(
        "nri-plugin-request-timeout",
        "nri.request_timeout_s",
        "within which an NRI plugin answers, a duration; one that does not is dropped",
        parse_duration,
    ),
    Flag(
        "nri-default-validator",
        "nri.validate",
        "hold containers to the annotation required-plugins.noderesource.dev",
        boolean,
        switch=True,
    ),
    Flag(
        "nri-reject",
        "nri.reject",
        f"adjustments that no NRI plugin may make, of {names(NRI_REJECTIONS)}",
        words,
    ),
    Flag(
        "nri-required-plugins",
        "nri.required_plugins",
        "NRI plugins without which no container is created",
        words,
    ),
    Flag(
        "nri-tolerate-missing-plugins-annotation",
        "nri.tolerate_missing_annotation",
        "key of an annotation by which a pod does without them",
    ),
)
