#include "worker/runtime/record.h"

#include "common/os/file.h"

#include <unistd.h>

namespace rtrain::runtime {

Result<Done> write_error_record(const std::string& rank_dir, const proto::RankError& error) {
  const std::string path = rank_dir + "/error.json";
  if (::access(path.c_str(), F_OK) == 0) return ok();
  return os::write_file_atomic(path, proto::dump_json({{"kind", error.kind}, {"message", error.message}}) + "\n");
}

Result<Done> write_outcome_record(const std::string& rank_dir, const proto::Json& return_value) {
  return os::write_file_atomic(rank_dir + "/outcome.json", proto::dump_json({{"return_value", return_value}}) + "\n");
}

}  // namespace rtrain::runtime
