#include "worker/runtime/record.h"

#include "common/os/file.h"
#include "proto/record/rank_files.h"
#include "worker/runtime/payload.h"

#include <unistd.h>

namespace rtrain::runtime {

Result<Done> write_error_record(const std::string& rank_dir, const proto::RankError& error) {
  const std::string path = rank_dir + "/error.json";
  if (::access(path.c_str(), F_OK) == 0) return ok();
  return os::write_file_atomic(
      path, proto::dump_json({{"kind", error.kind}, {"message", shortened(error.message)}}) + "\n", 0600);
}

Result<Done> write_outcome_record(const std::string& rank_dir, const proto::Json& return_value,
                                  bool yielded) {
  return proto::write_outcome(rank_dir, {return_value, yielded});
}

}  // namespace rtrain::runtime
