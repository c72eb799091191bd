#include "daemon/head/api/checked_spec.h"

#include <algorithm>

namespace rtrain::head {

CheckedSpec check_spec(std::string_view body) {
  auto reading = proto::read_job_spec(body);
  if (reading.ok()) reading.errors = proto::check_resolved(reading.spec);
  if (reading.ok()) {
    if (auto good = proto::reads_back(reading.spec); !good)
      return SpecRefusal{proto::error_doc(good.error()),
                         static_cast<http::status>(proto::http_status(good.error().code()))};
    return std::move(reading.spec);
  }
  const auto count = std::max(reading.count, reading.errors.size());
  return SpecRefusal{{std::string(to_string(Errc::kInvalidArgument)),
                      "the job file has " + std::to_string(count) + (count == 1 ? " error" : " errors"),
                      "rtrain validate job.json shows them with their places", std::move(reading.errors)},
                     http::status::bad_request};
}

}  // namespace rtrain::head
