-- Finds the model of a JSON request inside Envoy, so that its body need not travel to the gateway plugin: the name goes into a header, and the
-- plugin asks for the body only where there is none.
--
-- What it finds is exact for every body that is JSON: the last top-level "model", as JSON parsers have it. Wherever it is in doubt it finds
-- nothing, and the plugin looks itself: escapes in a top-level key or in the name, a model that is no string, compressed bodies, forms. It
-- does not prove that a body is JSON; what is not, the engine refuses as a whole.

local HEADER = "x-gateway-model-peek"
-- The plugin's limit for JSON bodies, which only it can answer in words
local MAX_BODY_BYTES = 16 * 1024 * 1024
local MAX_NAME_BYTES = 256
-- Looks at quotes and brackets, after which the plugin may go on: one request holds up no other on this thread for more than some 20 ms
local MAX_LOOKS = 500000
-- The plugin's own list of paths with JSON bodies; for others nothing is read before the plugin has refused them or asked for the body
local PATHS = {}
for _, path in ipairs({
  "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/rerank", "/v1/score", "/v1/classify",
  "/tokenize", "/detokenize",
}) do PATHS[path] = true end

local byte, find, sub = string.byte, string.find, string.sub

-- Bytes outside of strings that have no part in the structure: white space, and those of numbers, true, false and null
local PLAIN = {}
for _, character in ipairs({ " ", "\t", "\n", "\r", "+", "-", ".", "E" }) do PLAIN[byte(character)] = true end
for digit = byte("0"), byte("9") do PLAIN[digit] = true end
for character in string.gmatch("truefalsn", ".") do PLAIN[byte(character)] = true end

local QUOTE, COMMA, COLON, BACKSLASH = byte('"'), byte(","), byte(":"), byte("\\")
local OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY = byte("{"), byte("}"), byte("["), byte("]")

-- Where the string ends that begins at `from`: the first quote with an even number of backslashes before it. Also how many quotes it looked at
local function closing_quote(text, from)
  local at = from
  for looks = 1, MAX_LOOKS do
    at = find(text, '"', at + 1, true)
    if at == nil then return nil, looks end
    local before = at - 1
    while byte(text, before) == BACKSLASH do before = before - 1 end
    if (at - before) % 2 == 1 then return at, looks end
  end
  return nil, MAX_LOOKS
end

-- Finds the bytes that matter inside of a nested value, which may be a long list of numbers: quotes and brackets. Of each it remembers where
-- the next one is, so that the text is searched once for each kind.
local NESTED = { '"', "[", "]", "{", "}" }

local function nearest(text, from, ahead)
  local least = #text + 1
  for kind = 1, #NESTED do
    local at = ahead[kind]
    if at < from then
      at = find(text, NESTED[kind], from, true) or #text + 1
      ahead[kind] = at
    end
    if at < least then least = at end
  end
  return least
end

local function find_model(text)
  local length = #text
  local at = find(text, "[^ \t\n\r]")
  if at == nil or byte(text, at) ~= OPEN_OBJECT then return nil end
  local depth = 1
  local is_key, of_model = true, false
  local model = nil
  local ahead = { 0, 0, 0, 0, 0 }
  at = at + 1
  local looks = 0
  while at <= length and looks < MAX_LOOKS do
    local c = byte(text, at)
    looks = looks + 1
    if c == QUOTE then
      local close, more = closing_quote(text, at)
      if close == nil then return nil end
      looks = looks + more
      if depth == 1 and (is_key or of_model) then
        local inner = sub(text, at + 1, close - 1)
        if find(inner, "\\", 1, true) then return nil end
        if is_key then of_model = inner == "model" else model = inner end
      end
      at = close
    elseif c == OPEN_OBJECT or c == OPEN_ARRAY then
      if depth == 1 and of_model then return nil end
      depth = depth + 1
    elseif c == CLOSE_OBJECT or c == CLOSE_ARRAY then
      depth = depth - 1
      if depth == 0 then
        if find(text, "[^ \t\n\r]", at + 1) then return nil end
        return model
      end
    elseif c == COLON then
      if depth == 1 then is_key = false end
    elseif c == COMMA then
      if depth == 1 then is_key, of_model = true, false end
    elseif depth > 1 then
      at = nearest(text, at, ahead) - 1
    elseif not PLAIN[c] then
      return nil
    elseif of_model and c > 32 then
      return nil
    end
    at = at + 1
  end
  return nil
end

-- As encodeURIComponent has it, and with what else names of models are made of
local function encode(name)
  return (string.gsub(name, "[^%w%-%._~/:@]", function(character) return string.format("%%%02X", byte(character)) end))
end

local function is_for_peek(headers)
  if headers:get(":method") ~= "POST" or headers:get("content-encoding") ~= nil then return false end
  local path = headers:get(":path")
  local query = find(path, "?", 1, true)
  if not PATHS[query and sub(path, 1, query - 1) or path] then return false end
  local length = headers:get("content-length")
  return length == nil or (tonumber(length) or 0) <= MAX_BODY_BYTES
end

function envoy_on_request(handle)
  local headers = handle:headers()
  headers:remove(HEADER)
  if not is_for_peek(headers) then return end
  local body = handle:body()
  if body == nil then return end
  local length = body:length()
  if length == 0 or length > MAX_BODY_BYTES then return end
  local model = find_model(body:getBytes(0, length))
  if model == nil or model == "" or #model > MAX_NAME_BYTES then return end
  handle:headers():replace(HEADER, encode(model))
end
