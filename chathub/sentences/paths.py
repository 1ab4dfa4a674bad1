"""Paths that do not exist, for programs."""

SENTENCES = {
    "base_url_doubled_v1": (
        "没有这个接口：{path}，base URL 中的 /v1 多了一次。应为 {meant}，base URL 请填{base}",
        "There is no path {path}: /v1 is in it twice. The path is {meant};"
        " set the client's base URL to {base}.",
    ),
    "base_url_slash": (
        "没有这个接口：{path}，请去掉多余的斜杠：{meant}",
        "There is no path {path}: remove the slash too many. The path is {meant}.",
    ),
    "base_url_without_v1": (
        "没有这个接口：{path}，base URL 缺少 /v1。应为 {meant}，base URL 请填{base}",
        "There is no path {path}: the client's base URL lacks /v1. The path is {meant};"
        " set the base URL to {base}.",
    ),
    "base_url_wrong": (
        "没有这个接口：{path}，base URL 不正确。应为 {meant}，base URL 请填{base}",
        "There is no path {path}: the client's base URL is wrong. The path is {meant};"
        " set the base URL to {base}.",
    ),
    "unknown_path": (
        "没有这个接口：{path}。/v1 的接口有：{paths:list}",
        "There is no path {path}. The paths of this API are: {paths:list}.",
    ),
}
