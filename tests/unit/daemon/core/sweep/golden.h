// Golden files of tests/golden/sweep, and spaces as a sweep file writes them.
#pragma once

#include "common/os/file.h"
#include "daemon/core/sweep/space.h"
#include "proto/sweep/sweep_reader.h"

#include <stdexcept>

inline rtrain::proto::Json golden_file(const std::string& name) {
  const auto text = rtrain::os::read_file(std::string(RTRAIN_SOURCE_DIR "/tests/golden/sweep/") + name);
  return rtrain::proto::parse_json(text.value()).value();
}

/// A sweep around `parameters`, and what else a test says of it.
inline rtrain::proto::SweepSpec sweep_of(const rtrain::proto::Json& parameters,
                                         rtrain::proto::Json more = {}) {
  rtrain::proto::Json document{
      {"job", {{"command", {"true"}}}}, {"metric", "loss"},        {"baseline", false}, {"search", "random"},
      {"limits", {{"trials", 100}}},    {"parameters", parameters}};
  if (more.is_object()) document.update(more);
  auto reading = rtrain::proto::read_sweep_document(document);
  for (const auto& error : reading.errors) throw std::runtime_error(to_string(error));
  return std::move(reading.spec);
}

inline rtrain::core::Space space_of(const rtrain::proto::Json& parameters) {
  return rtrain::core::Space(sweep_of(parameters).parameters);
}
