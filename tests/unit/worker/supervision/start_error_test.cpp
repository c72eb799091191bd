#include "worker/supervision/start_error.h"

#include "common/os/elf.h"
#include "common/os/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

namespace start_error_test {

using namespace rtrain;
using namespace rtrain::supervision;

namespace {

std::string write(const std::filesystem::path& path, const std::string& text, unsigned mode = 0755) {
  std::ofstream(path, std::ios::binary) << text;
  ::chmod(path.c_str(), mode);
  return path.string();
}

StartError explain(int error, const std::string& program, proto::SpawnRank spawn = {}) {
  if (spawn.argv.empty()) spawn.argv = {program};
  return explain_exec(error, spawn, program);
}

}  // namespace

TEST_CASE("start error: whose fault an errno is", "[F29]") {
  struct Row {
    int error;
    const char* kind;
  };
  for (const auto& row : std::vector<Row>{{ENOENT, "exec"},       {EACCES, "exec"},     {EPERM, "exec"},
                                          {ENOTDIR, "exec"},      {EISDIR, "exec"},     {ELOOP, "exec"},
                                          {ENAMETOOLONG, "exec"}, {ENOEXEC, "exec"},    {E2BIG, "exec"},
                                          {ETXTBSY, "exec"},      {ELIBBAD, "exec"},    {EINVAL, "exec"},
                                          {ENOMEM, "spawn"},      {EAGAIN, "spawn"},    {EMFILE, "spawn"},
                                          {ENFILE, "spawn"},      {EIO, "spawn"},       {ENOSPC, "spawn"},
                                          {ESTALE, "spawn"},      {ETIMEDOUT, "spawn"}, {ENODEV, "spawn"},
                                          {EROFS, "spawn"},       {0, "spawn"}}) {
    INFO(std::strerror(row.error));
    CHECK(kind_of_start_error(row.error) == row.kind);
    CHECK(explain(row.error, "/nowhere/x").kind == row.kind);
  }
}

TEST_CASE("start error: the variable or the argument that is too long is named", "[F29]") {
  proto::SpawnRank spawn;
  spawn.argv = {"/bin/true", "a"};
  spawn.env = {{"A", "1"}, {"DATA", std::string(204'800, 'x')}};
  CHECK(explain(E2BIG, "/bin/true", spawn).message ==
        "cannot start /bin/true: Argument list too long; the variable DATA has 204805 bytes with its name; "
        "one may have 131071");
  spawn.env[1].second = "1";
  spawn.argv[1] = std::string(131'072, 'x');
  CHECK(explain(E2BIG, "/bin/true", spawn).message ==
        "cannot start /bin/true: Argument list too long; argument 1 has 131072 bytes; one may have 131071");
  spawn.argv[1] = "a";
  for (int i = 0; i < 100; ++i) spawn.env.emplace_back("V" + std::to_string(i), std::string(100'000, 'x'));
  CHECK(explain(E2BIG, "/bin/true", spawn).message.find("bytes together, more than the system takes") !=
        std::string::npos);
}

TEST_CASE("start error: a file that cannot be run says why", "[F29]") {
  const test::TempDir dir;
  CHECK(explain(ENOENT, (dir / "nowhere").string()).message ==
        "cannot start " + (dir / "nowhere").string() + ": No such file or directory");
  CHECK(explain(ENOENT, "no-such-program").message ==
        "cannot start no-such-program: No such file or directory");
  const auto script = write(dir / "script", "#!/opt/python9/bin/python -u\n");
  CHECK(explain(ENOENT, script)
            .message.ends_with(
                "; it needs the interpreter /opt/python9/bin/python, which is not on this node"));
  CHECK(explain(EACCES, write(dir / "plain", "x", 0644))
            .message.ends_with("; it is not executable (chmod +x)"));
  CHECK(explain(EACCES, dir.path().string()).message.ends_with("; it is a folder"));
  CHECK(
      explain(ENOEXEC, write(dir / "data", "\x01\x02"))
          .message.ends_with("; it is neither a program for this machine nor a script that begins with #!"));
  auto bytes = os::read_file("/proc/self/exe", 1u << 30).value();
  CHECK(explain(ENOEXEC, write(dir / "cut", bytes.substr(0, 1000)))
            .message.find("; it is truncated: the file has 1000 bytes, its ELF header requires ") !=
        std::string::npos);
  bytes[18] = static_cast<char>(os::own_machine() == "aarch64" ? EM_X86_64 : EM_AARCH64);
  bytes[19] = 0;
  const auto other = os::own_machine() == "aarch64" ? "x86_64" : "aarch64";
  CHECK(explain(ENOEXEC, write(dir / "foreign", bytes))
            .message.ends_with(std::string("; it is a program for ") + other + "; this node is " +
                               os::own_machine()));
  CHECK(explain(ENAMETOOLONG, "/" + std::string(300, 'n')).message ==
        "cannot start /" + std::string(199, 'n') + "... (301 bytes): File name too long");
}

TEST_CASE("start error: the PATH is searched as execvp() does", "[F29]") {
  const test::TempDir dir;
  std::filesystem::create_directories(dir / "one/tool");
  std::filesystem::create_directories(dir / "two");
  write(dir / "two/plain", "x", 0644);
  const auto tool = write(dir / "two/tool", "#!/bin/sh\n");
  const auto path = (dir / "one").string() + ":" + (dir / "two").string();
  CHECK(find_program("tool", path) == tool);  // a folder of that name is none
  CHECK(find_program("plain", path).empty());
  CHECK(find_program("tool", "").empty());
  CHECK(find_program("./tool", path) == "./tool");
}

TEST_CASE("start error: told through a pipe and back") {
  const auto back = start_error_of(to_text({"exec", "enter working_dir /x\ny: No such file or directory"}));
  CHECK(back.kind == "exec");
  CHECK(back.message == "enter working_dir /x\ny: No such file or directory");
  CHECK(start_error_of("half a word").kind == "spawn");
}

}  // namespace start_error_test
