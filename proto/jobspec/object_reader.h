// Reads one JSON object field by field and collects everything that is wrong with it.
#pragma once

#include "proto/jobspec/jobspec.h"
#include "proto/json_text.h"

#include <limits>
#include <optional>
#include <utility>

namespace rtrain::proto {

/// Where the errors of one document go. However many it has, the first kErrorsMax are kept, each of a bounded
/// length.
class SpecErrors {
 public:
  static constexpr std::size_t kErrorsMax = 50, kPathBytesMax = 256, kMessageBytesMax = 512;
  void add(std::string_view path, std::string_view message);
  void add(TextProblem problem);
  /// So many more that are not listed.
  void add_uncounted(std::size_t more) { more_ += more; }
  /// Further errors are only counted: what a message would cost can be spared.
  [[nodiscard]] bool full() const { return errors_.size() >= kErrorsMax; }
  /// In document order. `text`: where the errors without a place are looked for; "" when there is none. The
  /// place is that of the path, or of the nearest enclosing key that the text has.
  void take(SpecReading& into, std::string_view text, JsonLimits limits);

  /// What is read is a job file: an unknown key may be one of a job file at another place.
  bool of_job = true;

  /// The keys that the object at a path may have, of every object that was read: what the schema is held
  /// against.
  std::map<std::string, std::vector<std::string>> known_keys;

 private:
  std::vector<SpecError> errors_;
  std::size_t more_ = 0;
};

/// A known key is one that was asked for; finish() reports the others.
/// @lifetime holds references to the object and the errors.
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string path, SpecErrors& errors)
      : object_(object), path_(std::move(path)), errors_(errors) {}

  void read(const char* key, std::string& out);
  void read(const char* key, bool& out);
  void read(const char* key, int& out, int min, int max = std::numeric_limits<int>::max());
  /// Finite numbers in [min, max], or above min when `min_excluded`.
  void read(const char* key, double& out, double min, double max, bool min_excluded = false);
  void read(const char* key, std::vector<std::string>& out);
  void read(const char* key, std::map<std::string, std::string>& out);
  /// One of `choices`; the error lists them, with the nearest first.
  void read_choice(const char* key, std::string& out, const std::vector<std::string>& choices);
  /// The object under `key`, if there is one of the right type.
  [[nodiscard]] std::optional<ObjectReader> object(const char* key);
  /// The raw value, or nullptr when absent (null counts as absent).
  [[nodiscard]] const Json* raw(const char* key);
  /// A key of Ray's that is refused on purpose, with the reason.
  void refuse(const char* key, const std::string& reason);
  /// Reports every key that nobody asked for.
  void finish();

  [[nodiscard]] std::string path_of(std::string_view key) const;
  void error(std::string_view key, std::string_view message) { errors_.add(path_of(key), message); }
  [[nodiscard]] const Json& json() const { return object_; }

 private:
  void wrong_type(const char* key, const char* expected, const Json& found);

  const Json& object_;
  std::string path_;
  SpecErrors& errors_;
  std::vector<std::string> known_, refused_;
};

/// known_keys of a job file with every object in it, by path.
[[nodiscard]] std::map<std::string, std::vector<std::string>> job_spec_keys();

/// "a string", "a number", "an object", ... for messages.
[[nodiscard]] std::string type_words(const Json& value);

}  // namespace rtrain::proto
