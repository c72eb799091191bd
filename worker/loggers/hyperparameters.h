// Hyperparameters as loggers store them.
#pragma once

#include <rtrain/export.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::loggers {

/// The leaves of nested objects, their names joined by "/". A list is a leaf.
[[nodiscard]] RTRAIN_API std::vector<std::pair<std::string, nlohmann::json>> flatten(
    const nlohmann::json& hyperparameters);

/// A leaf as text: a string as it is, everything else as JSON.
[[nodiscard]] RTRAIN_API std::string text_of(const nlohmann::json& leaf);

/// YAML that any reader takes, in alphabetical order: Lightning's hparams.yaml.
[[nodiscard]] RTRAIN_API std::string to_yaml(const nlohmann::json& hyperparameters);

/// Writes `folder`/hparams.yaml. @throws std::runtime_error names `who`, the file and the cause.
void write_hparams(const std::string& who, const std::filesystem::path& folder,
                   const nlohmann::json& hyperparameters);

}  // namespace rtrain::loggers
