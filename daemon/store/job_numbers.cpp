#include "daemon/store/job_numbers.h"

#include "common/os/file.h"
#include "daemon/store/disk_error.h"

#include <algorithm>
#include <charconv>
#include <chrono>

namespace rtrain::store {
namespace {
std::string path_in(const std::string& state_dir) { return state_dir + "/next_job_id"; }
}  // namespace

Result<std::int64_t> JobNumbers::read(const std::string& state_dir) {
  const std::string path = path_in(state_dir);
  auto text = os::read_file(path, 64);
  if (!text) {
    if (text.error().code() == Errc::kNotFound) return 1;
    return text.error();
  }
  std::int64_t mark = 0;
  const auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), mark);
  if (ec != std::errc{} || mark < 1)
    return fail(Errc::kIo, path + ": holds \"" + *text + "\" instead of a job number",
                "write a number above every job id ever given into it");
  return mark;
}

Result<Done> JobNumbers::write(std::int64_t mark) {
  errno = 0;
  const auto path = path_in(state_dir_);
  auto written = sync_ ? os::write_file_atomic(path, std::to_string(mark) + "\n", 0600)
                       : os::replace_file(path, std::to_string(mark) + "\n", 0600);
  if (!written) {
    const auto lack = lack_of(errno);
    return lack ? fail(*lack, written.error().message()) : written.error().in("reserving job ids");
  }
  mark_ = mark;
  return ok();
}

Result<Done> JobNumbers::reserve(std::int64_t id) {
  if (id < mark_) return ok();
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::steady_clock::now().time_since_epoch())
                       .count();
  block_ = now - moved_ms_ < 1000 ? std::min(block_ * 2, kBlockMax) : kBlockMin;
  moved_ms_ = now;
  return write(id + block_);
}

Result<Done> JobNumbers::settle(std::int64_t next) {
  if (next == mark_) return ok();
  return write(next);
}

}  // namespace rtrain::store
