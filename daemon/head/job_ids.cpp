#include "daemon/head/job_ids.h"

#include "common/os/file.h"

#include <charconv>

namespace rtrain::head {
namespace {
constexpr std::int64_t kBlock = 1000;
}

Result<JobIds> JobIds::open(const std::string& state_dir) {
  const std::string path = state_dir + "/next_job_id";
  auto text = os::read_file(path, 64);
  if (!text) {
    if (text.error().code() == Errc::kNotFound) return JobIds(path, 1);
    return text.error();
  }
  std::int64_t next = 0;
  const auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), next);
  if (ec != std::errc{} || next < 1)
    return fail(Errc::kIo, path + ": holds \"" + *text + "\" instead of a job number", "write a number above every job id ever given into it");
  return JobIds(path, next);
}

Result<JobId> JobIds::next() {
  if (next_ == reserved_until_) {
    if (auto written = os::write_file_atomic(path_, std::to_string(next_ + kBlock) + "\n"); !written) return written.error().in("reserving job ids");
    reserved_until_ = next_ + kBlock;
  }
  return JobId(next_++);
}

}  // namespace rtrain::head
