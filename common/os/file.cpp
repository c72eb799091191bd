#include "common/os/file.h"

#include "common/os/fd.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>

namespace rtrain::os {
namespace {

Result<Done> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write " + path, errno);
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return ok();
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<std::string> read_fd(int fd, const std::string& path, std::size_t bytes_max) {
  std::string content;
  std::array<char, 64 * 1024> chunk;
  for (;;) {
    const ssize_t n = ::read(fd, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read " + path, errno);
    if (n == 0) return content;
    if (content.size() + static_cast<std::size_t>(n) > bytes_max)
      return fail(Errc::kLimit, path + ": larger than " + std::to_string(bytes_max) + " bytes");
    content.append(chunk.data(), static_cast<std::size_t>(n));
  }
}

Error open_failed(const std::string& path) {
  if (errno == ENOENT) return fail(Errc::kNotFound, path + ": no such file");
  return fail_errno("open " + path, errno);
}

/// A new file in the place of the old one, in one step.
Result<Done> put(const std::string& path, std::string_view content, unsigned mode, bool sync) {
  static std::atomic<unsigned> counter{0};
  const std::string temporary = path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (!fd.is_open()) return fail_errno("create " + temporary, errno);
    auto written = write_all(fd.get(), content, temporary);
    if (written && sync && ::fsync(fd.get()) != 0) written = fail_errno("fsync " + temporary, errno);
    if (!written) {
      ::unlink(temporary.c_str());
      return written.error();
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    return fail_errno("rename " + temporary + " to " + path, error);
  }
  return ok();
}

}  // namespace

Result<Done> replace_file(const std::string& path, std::string_view content, unsigned mode) {
  return put(path, content, mode, false);
}

Result<Done> write_file_atomic(const std::string& path, std::string_view content, unsigned mode) {
  auto written = put(path, content, mode, true);
  return written ? fsync_path(folder_of(path)) : written;
}

Result<std::string> read_file(const std::string& path, std::size_t bytes_max) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return open_failed(path);
  return read_fd(fd.get(), path, bytes_max);
}

Result<Done> make_dirs(const std::string& path, unsigned mode) {
  if (path.empty()) return fail(Errc::kInvalidArgument, "make folder: the path is empty");
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      // a parent on a read-only or foreign file system may refuse mkdir and exist all the same
      const int error = errno;
      struct stat info {};
      if (::stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
        return fail_errno("make folder " + part, error);
    }
    if (end == std::string::npos) break;
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return fail_errno("make folder " + path, errno);
  if (!S_ISDIR(info.st_mode)) return fail(Errc::kIo, path + ": exists and is not a folder");
  return ok();
}

Result<Done> fsync_path(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return open_failed(path);
  if (::fsync(fd.get()) != 0) return fail_errno("fsync " + path, errno);
  return ok();
}

Result<std::string> read_token_file(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return open_failed(path);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("stat " + path, errno);
  if (info.st_uid != ::geteuid() && info.st_uid != 0)
    return fail(Errc::kUnauthenticated, path + ": the token file belongs to another user",
                "chown it to the user who runs this program");
  if ((info.st_mode & 077) != 0)
    return fail(Errc::kUnauthenticated, path + ": the token file can be read by others", "chmod 600 " + path);
  auto content = read_fd(fd.get(), path, 4096);
  if (!content) return content;
  std::string& token = *content;
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  if (token.find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos)
    return fail(Errc::kUnauthenticated, path + ": the token must be one line");
  if (token.size() < 16)
    return fail(Errc::kUnauthenticated, path + ": the token is shorter than 16 characters",
                "head -c 32 /dev/urandom | base64 > " + path);
  return content;
}

std::vector<std::string> tail_lines(const std::string& path, int lines, std::size_t bytes_max) {
  if (lines <= 0) return {};
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!fd.is_open() || ::fstat(fd.get(), &info) != 0) return {};
  const auto size = static_cast<std::size_t>(info.st_size);
  const std::size_t wanted = std::min(size, bytes_max);
  std::string text(wanted, '\0');
  std::size_t got = 0;
  while (got < wanted) {
    const ssize_t n =
        ::pread(fd.get(), text.data() + got, wanted - got, static_cast<off_t>(size - wanted + got));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
  }
  text.resize(got);
  if (wanted < size) {  // the first line is cut: leave it out, unless it is all there is
    const auto end = text.find('\n');
    if (end != std::string::npos && end + 1 < text.size()) text.erase(0, end + 1);
  }
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    auto line = std::string_view(text).substr(begin, end - begin);
    while (line.ends_with('\r')) line.remove_suffix(1);
    if (const auto back = line.rfind('\r'); back != std::string_view::npos) line.remove_prefix(back + 1);
    out.emplace_back(line);
    begin = end + 1;
  }
  if (out.size() > static_cast<std::size_t>(lines)) out.erase(out.begin(), out.end() - lines);
  return out;
}

std::int64_t unix_ms_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string random_hex(int bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string raw(static_cast<std::size_t>(std::max(bytes, 0)), '\0');
  for (std::size_t got = 0; got < raw.size();) {
    const ssize_t n = ::getrandom(raw.data() + got, raw.size() - got, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw ErrorException(fail_errno("getrandom", errno));
    got += static_cast<std::size_t>(n);
  }
  std::string out;
  out.reserve(raw.size() * 2);
  for (const char letter : raw) {
    const auto byte = static_cast<unsigned char>(letter);
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string program_dir() {
  std::array<char, PATH_MAX> path;
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size());
  return n > 0 ? folder_of(std::string(path.data(), static_cast<std::size_t>(n))) : ".";
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

}  // namespace rtrain::os
