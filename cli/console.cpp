#include "cli/console.h"

#include "cli/exit_code.h"
#include "cli/text.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>

namespace rtrain::cli {

namespace {

/// 0, or why the text is not written.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n > 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (n < 0 && errno == EAGAIN) {  // a terminal or pipe that another program made non-blocking
      pollfd writable{fd, POLLOUT, 0};
      (void)::poll(&writable, 1, -1);
    } else if (n < 0 && errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

}  // namespace

std::optional<std::string> variable(const Getenv& getenv, const char* name) {
  const char* value = getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

bool use_colour(ColourChoice choice, bool terminal, const Getenv& getenv) {
  if (choice != ColourChoice::kAuto) return choice == ColourChoice::kAlways;
  if (variable(getenv, "NO_COLOR")) return false;
  if (const auto force = variable(getenv, "CLICOLOR_FORCE"); force && *force != "0") return true;
  return terminal && variable(getenv, "TERM").value_or("dumb") != "dumb";
}

Console::Console(ColourChoice choice, const Getenv& getenv)
    : out_terminal_(::isatty(STDOUT_FILENO) == 1),
      err_terminal_(::isatty(STDERR_FILENO) == 1),
      out_colour_(use_colour(choice, out_terminal_, getenv)),
      err_colour_(use_colour(choice, err_terminal_, getenv)),
      live_(err_terminal_ && variable(getenv, "TERM").value_or("dumb") != "dumb") {}

void Console::out(std::string_view text) const {
  if (const int failed = write_all(STDOUT_FILENO, text); failed != 0 && out_failure_ == 0)
    out_failure_ = failed;
}
void Console::err(std::string_view text) const { (void)write_all(STDERR_FILENO, text); }

int Console::finish(int status) const {
  // Who reads no further (EPIPE) has read what he wanted.
  if (out_failure_ == 0 || out_failure_ == EPIPE) return status;
  error(fail(Errc::kIo, std::string("stdout: ") + std::strerror(out_failure_) + "; the output is lost"));
  return status != 0 ? status : static_cast<int>(Exit::kFailed);
}
void Console::note(std::string_view line) const { err(std::string(line) + "\n"); }

void Console::error(const Error& error) const {
  // Messages may carry text of the far side: its control characters stay out of the terminal.
  err(styled("error:", Style::kRed, err_colour_) + " " + printable_lines(error.message(), "  ") + "\n");
  if (!error.hint().empty())
    err(styled("hint:", Style::kBold, err_colour_) + " " + printable_lines(error.hint(), "  ") + "\n");
}

void Console::warn(std::string_view line) const {
  err(styled("warning:", Style::kYellow, err_colour_) + " " + printable(line, false) + "\n");
}

void Console::print(const Table& table) const { out(table.str(table_width(), out_colour_)); }

int Console::width() const {
  for (const int fd : {STDERR_FILENO, STDOUT_FILENO}) {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  }
  return 80;
}

bool Console::confirm(std::string_view question) const {
  if (::isatty(STDIN_FILENO) != 1 || !err_terminal_) return false;
  err(std::string(question) + " [y/N] ");
  std::string answer;
  char c = 0;
  while (::read(STDIN_FILENO, &c, 1) == 1 && c != '\n') answer += c;
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace rtrain::cli
