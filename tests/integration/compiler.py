"""Compiles text with the flags, and the precompiled header, of a target of this build that uses the SDK."""
import json, os, re, shlex, subprocess

LIBRARY_SOURCE = "tests/integration/survival_functions.cpp"  # of a target that links rtrain::rtrain as a user's library does


def flags(build):
    """The command that compiles LIBRARY_SOURCE, without ccache, input and output."""
    with open(os.path.join(build, "compile_commands.json")) as file:
        entry = next(entry for entry in json.load(file) if entry["file"].endswith(LIBRARY_SOURCE))
    words = shlex.split(entry["command"]) if "command" in entry else list(entry["arguments"])
    while not os.path.basename(words[0]).startswith(("g++", "c++", "clang++")):
        words.pop(0)
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in ("-o", "-c"):
            skip = True
        elif not word.startswith("-Dsurvival_functions_EXPORTS"):
            kept.append(word)
    return kept, entry["directory"]


def jobs():
    """How many compilers may run at once: one a core, each with 1.5 GiB for LibTorch's headers."""
    with open("/proc/meminfo") as file:
        available_kib = int(re.search(r"^MemAvailable: *(\d+)", file.read(), flags=re.M)[1])
    return max(1, min(len(os.sched_getaffinity(0)), available_kib // 1572864))


def check_syntax(build, text, *more):
    """(exit status, diagnostics)"""
    words, directory = flags(build)
    done = subprocess.run([*words, *more, "-fsyntax-only", "-x", "c++", "-"], input=text, capture_output=True, text=True, cwd=directory, timeout=280)
    return done.returncode, done.stderr


def link_program(build, text, folder):
    """Makes `folder`/program, linked as a user's program is. (exit status, diagnostics)"""
    words, directory = flags(build)
    with open(folder + "/program.cpp", "w") as file:
        file.write(text)
    with open(build + "/CMakeCache.txt") as file:
        torch = re.search(r"^LibTorch_LIBRARY:FILEPATH=(.*)/libtorch\.so$", file.read(), flags=re.M)[1]
    # libstdc++ comes before LibTorch, as in cmake/FindLibTorch.cmake.
    libraries = ["-Wl,--no-as-needed", "-lstdc++", build + "/lib/librtrain.so", *(torch + "/lib%s.so" % name for name in ("torch", "torch_cpu", "c10"))]
    done = subprocess.run([*words, folder + "/program.cpp", "-o", folder + "/program", *libraries, "-Wl,-rpath," + build + "/lib:" + torch],
                          capture_output=True, text=True, cwd=directory, timeout=280)
    return done.returncode, done.stderr
